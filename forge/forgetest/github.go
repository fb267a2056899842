// Package forgetest stands in for the git hosts: a GitHub that keeps what it is
// told, enforces GitHub's limits and fails on demand. It is for tests and for
// programs that exercise a whole Slipway; it listens on loopback only.
package forgetest

import (
	"crypto/rsa"
	"fmt"
	"testing"
	"time"
)

// Options say how the fake behaves. The zero value will do.
type Options struct {
	// Listen is the address; empty: a free port on 127.0.0.1.
	Listen string
	// Spec is the file of GitHub's OpenAPI description. With one, every request
	// is checked against it; see Violations.
	Spec string
	// Prefix is in front of every path, such as /api/v3 on an Enterprise Server.
	Prefix string
	// AppID and Key are the App that may mint tokens; AppID 0: 1. With Key nil
	// the signatures of JWTs are not checked.
	AppID int64
	Key   *rsa.PublicKey
	// TokenLife is how long installation tokens are valid; 0: an hour.
	TokenLife time.Duration
	// Now is the fake's clock; nil: time.Now.
	Now func() time.Time
}

// GitHub is a fake GitHub. It is safe for concurrent use. What it returns are
// copies.
type GitHub struct {
	host
	o Options

	repos       map[string]*repo // by owner/name in lower case
	installs    map[int64]*installation
	tokens      map[string]*grant
	checks      map[int64]*CheckRun
	statuses    []Status
	comments    map[int64]*Comment
	deployments map[int64]*Deployment
	web         web
	teams       map[string]string // state by org/team/login
	hooked      hooked
}

// New starts a fake. Close stops it.
func New(o Options) (*GitHub, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.AppID = max(o.AppID, 1)
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	g := &GitHub{
		o:     o,
		repos: map[string]*repo{}, installs: map[int64]*installation{}, tokens: map[string]*grant{},
		checks: map[int64]*CheckRun{}, comments: map[int64]*Comment{}, deployments: map[int64]*Deployment{}, teams: map[string]string{},
	}
	g.web.codes, g.web.made = map[string]grantedCode{}, map[string]map[string]any{}
	if o.Spec != "" {
		var err error
		if g.spec, err = loadSpec(o.Spec, nil); err != nil {
			return nil, err
		}
	}
	g.now = o.Now
	if err := g.start(o.Listen, o.Prefix, g.routes()); err != nil {
		return nil, fmt.Errorf("starting the fake GitHub: %w", err)
	}
	return g, nil
}

// NewGitHub starts a fake for a test, which fails if a request did not match
// the description in Spec.
func NewGitHub(t testing.TB, o Options) *GitHub {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Close()
		for _, v := range g.Violations() {
			t.Errorf("request against GitHub's description: %s", v)
		}
	})
	return g
}
