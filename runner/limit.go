package runner

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// expandLimit is how long an expression of the buildspec may take (CodeBuild
// reference 4.4).
const expandLimit = 10 * time.Second

// withLimit ends with a mistake of the user's as its cause.
func withLimit(ctx context.Context, msg string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, expandLimit, &pipeline.UserError{Code: codeClient, Msg: msg})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// compareVersions orders versions by their numbers: 9 before 10, 3.9 before
// 3.10.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		c := cmp.Compare(x, y)
		if errX != nil || errY != nil {
			c = cmp.Compare(as[i], bs[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
