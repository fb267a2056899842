package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/ui"
)

// setup makes a forge's App for this server, at the first start.
type setup interface {
	// Done says that there is an App already, or one that waits for a restart.
	Done() bool
	// Form is what the browser posts to the forge: the address, and the manifest.
	// An empty organization means the person's own account.
	Form(organization, state string) (address, manifest string, err error)
	// Finish turns the forge's code into an App and keeps its credentials. What
	// it answers holds no secret.
	Finish(ctx context.Context, code string) (App, error)
}

// App is an App of a forge that was made for this server.
type App struct {
	Name string
	// InstallURL is where its owner gives it repositories.
	InstallURL string
	// Folder holds its credentials, and Settings is what names them in
	// slipway.yaml, for other servers.
	Folder, Settings string
}

const (
	setupCookie = "slipway_setup"
	setupRoot   = "/setup/github"
	setupTime   = time.Hour
)

var errSetUp = refuse(http.StatusConflict, "conflict", "a GitHub App is configured already")

// setupPage is GET /setup/github, for administrators. Only its browser can
// finish what it begins.
func (s *Server) setupPage(c *gin.Context) {
	v := ui.Setup{Frame: s.frame(c, "GitHub App"), Organization: strings.TrimSpace(c.Query("organization"))}
	err := s.setupProblem()
	if err == nil && v.Organization != "" && !forge.ValidName(v.Organization) {
		err = refuse(http.StatusUnprocessableEntity, "invalid", "an organization's name is wanted, not %q", cut(v.Organization, 40))
	}
	signed := s.guard.sign("setup", setupTime)
	id, _ := s.guard.verify("setup", signed) // signed just now
	if err == nil {
		v.Address, v.Manifest, err = s.Setup.Form(v.Organization, id)
	}
	if err != nil {
		s.failPage(c, err)
		return
	}
	v.Unreachable = loopbackName(hostOf(s.ExternalURL)) || !s.guard.secure
	v.ExternalURL = s.ExternalURL
	s.setWayBack(c, setupCookie, setupRoot, signed, setupTime)
	if origin := originOf(v.Address); origin != "" {
		c.Header("Content-Security-Policy", strings.Replace(contentPolicy, "form-action 'self'", "form-action 'self' "+origin, 1))
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Setup(v) })
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// originOf is an address's scheme and host, as content policies name them.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func (s *Server) setupProblem() error {
	switch {
	case s.Setup == nil:
		return refuse(http.StatusNotFound, "not-found", "this server can't set up an App")
	case s.Setup.Done():
		return errSetUp
	}
	return nil
}

// endSetup is GET /setup/github/callback. The session's strict cookie does not
// come along from the forge; the one that setupPage gave an administrator does,
// and is good once.
func (s *Server) endSetup(c *gin.Context) {
	_, _, err := s.wayBack(c, "setup", setupCookie, setupRoot)
	if err == nil {
		err = s.setupProblem()
	}
	var app App
	if err == nil {
		app, err = s.Setup.Finish(c.Request.Context(), c.Query("code"))
		if errors.Is(err, forge.ErrRejected) || errors.Is(err, forge.ErrNotFound) {
			err = refuse(http.StatusUnprocessableEntity, "invalid", "GitHub does not know the code, any more: begin again")
		}
	}
	e := access.Entry{Status: http.StatusOK, Outcome: access.Done, Detail: "made the GitHub App " + plain(app.Name)}
	if err != nil {
		e = access.Entry{Status: problemOf(err).Status, Outcome: access.Refused, Detail: "making a GitHub App"}
		s.note(c, nil, e)
		s.failPage(c, err)
		return
	}
	s.note(c, &principal{name: "admin", via: "set-up page"}, e)
	s.page(c, http.StatusOK, func() ([]byte, error) {
		return s.pages.SetUp(ui.SetUp{
			Frame: ui.Frame{Title: "GitHub App", Now: s.Now().UTC()}, Name: app.Name, InstallURL: app.InstallURL, Folder: app.Folder, Settings: app.Settings,
		})
	})
}
