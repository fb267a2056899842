package buildspec

import (
	"strings"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// withoutEffect are the keys that are read and checked and that no runner acts
// on, by their path, and why. A block that gets its effect leaves this list.
var withoutEffect = map[string]string{
	"proxy":               "builds have no explicit proxy; set HTTP_PROXY and HTTPS_PROXY under env.variables",
	"artifacts.s3-prefix": "artifacts are kept by their digest, not in a bucket",
}

// idle warns about a key without effect, so that none is passed over in
// silence: slipway validate prints it, and so does the log of a build. A flag
// that is off asks for nothing.
func (p *parser) idle(e specfile.Entry) {
	path := e.Path
	if strings.HasPrefix(path, "artifacts.secondary-artifacts.") && e.Key == "s3-prefix" {
		path = "artifacts.s3-prefix"
	}
	why, ok := withoutEffect[path]
	if !ok || specfile.IsNull(e.Value) {
		return
	}
	p.Report(e.At, warning(CodeNoEffect, e.Path+" has no effect", why))
}
