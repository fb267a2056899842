package redact_test

import (
	"fmt"
	"os"

	"github.com/slipway-ci/slipway/internal/redact"
)

func ExampleMasker_Writer() {
	w := redact.New("swordfish").Writer(os.Stdout)
	fmt.Fprint(w, "the password is sword")
	fmt.Fprintln(w, "fish")
	w.Close()
	// Output: the password is ***
}
