package github_test

import (
	"fmt"
	"net/http"

	"github.com/slipway-ci/slipway/forge/github"
)

// The receiver's three steps: is it authentic, is it readable, what is it.
func Example() {
	body := []byte("Hello, World!")
	header := http.Header{}
	header.Set("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	index, err := github.Verify([]string{"the new secret", "It's a Secret to Everybody"}, header, body)
	fmt.Println(index, err)
	_, err = github.Payload("application/json", body)
	fmt.Println(err)

	header.Set("X-GitHub-Event", "push")
	header.Set("X-GitHub-Delivery", "0b989ba4-242f-11e5-81e1-c7b6966d2516")
	delivery, err := github.Scan(header, []byte(`{"ref":"refs/heads/main","repository":{"id":7,"full_name":"octo/hello"}}`))
	fmt.Println(delivery.Event, delivery.RepoName, delivery.Ref, err)
	// Output:
	// 1 <nil>
	// not a JSON object
	// push octo/hello refs/heads/main <nil>
}
