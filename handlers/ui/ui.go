// Package ui shows: the pages of Slipway as html/template templates, with
// their style sheet and scripts. Pages are complete without JavaScript and
// live with it; they load nothing from anywhere else.
package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/pipeline"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/*
var assetFiles embed.FS

// Frame is what all pages have.
type Frame struct {
	Title    string
	Now      time.Time
	SignedIn bool
	// User is who is signed in; Admin says that they may do everything.
	User  string
	Admin bool
	// Server says that they may read what is of no repository.
	Server bool
	// Path is the page's own, with its query.
	Path string
	// Apart says that the page is none of the navigation's.
	Apart bool
	// Live is an address of the API whose events say that the page is out of
	// date; empty: it won't be.
	Live string
}

// SignIn is the page that asks for a token.
type SignIn struct {
	Frame
	Next    string // where to go afterwards
	Problem string
	Login   string // address that leads to the forge to sign in at; empty: none
	// Again lets the browser open Next once more by itself: after a link from
	// another site it leaves out the cookie of somebody who is signed in.
	Again bool
}

// Onward is the page between a forge, where somebody signed in, and where they
// wanted to go.
type Onward struct {
	Frame
	Who, Next string
}

// Setup is the page from which an App is made.
type Setup struct {
	Frame
	ExternalURL, Organization string
	// Unreachable warns that the forge can't deliver webhooks to ExternalURL.
	Unreachable bool
	// Address is where the form posts Manifest.
	Address, Manifest string
}

// SetUp is the page of an App that was made.
type SetUp struct {
	Frame
	Name, InstallURL, Folder, Settings string
}

// Audit is the audit log.
type Audit struct {
	Frame
	Items        []access.Entry
	Newer, Older string
	// Words say what an entry's action is, by the action.
	Words map[string]string
}

// Executions is a list of executions: all, or one repository's.
type Executions struct {
	Frame
	Query pipeline.Query
	Items []pipeline.Summary
	// Newer and Older are addresses of neighbouring pages; empty: none.
	Newer, Older string
	Repo         string // owner/name of a repository's page
	Badge        string // the address of its badge
}

// Execution is one execution with the builds and deployments of its actions.
type Execution struct {
	Frame
	pipeline.Execution
	Builds map[string]pipeline.Build // by ID, as far as they are known
	// Problems is what went wrong, the first first.
	Problems []Problem
	// Waits say why builds haven't begun, by their IDs.
	Waits map[string]string
	// Asks are the approvals that it waits for.
	Asks []Ask
	// CanAct says that the reader may change it, CanStop and CanRetry what there
	// is to change.
	CanAct   bool
	CanStop  bool
	CanRetry bool
}

// Conditions are those of a stage, as they were weighed.
func (x Execution) Conditions(st pipeline.StageExecution) []Condition {
	for _, def := range x.Pipeline.Stages {
		if def.Name == st.Name {
			return ConditionsOf(def, &st)
		}
	}
	return nil
}

// Problem is one action that did not succeed.
type Problem struct {
	Stage, Action string
	Code, Message string
	Build         *pipeline.Build
	// Condition is set where it is one that isn't met.
	Condition *Condition
}

// Build is one build or deployment with a window of its log.
type Build struct {
	Frame
	pipeline.Build
	Log    Window
	Source BuildSource
	// Groups are the lines of Log by phase.
	Groups []Group
	Page   Paging
	// Debuggable: slipway debug would open a shell where it failed.
	Debuggable bool
}

// Group is the lines of one phase within a window.
type Group struct {
	Phase pipeline.Phase // Type is empty for lines before the first phase
	Lines []Line
}

// Paging are line numbers from which to read on; 0: there is nothing.
type Paging struct{ First, Previous, Next, Last int64 }

// Deliveries is the ledger.
type Deliveries struct {
	Frame
	Forge        string
	Forges       []string
	Items        []pipeline.Delivery
	CanReplay    bool
	Newer, Older string
}

// Delivery is one webhook as it came.
type Delivery struct {
	Frame
	pipeline.Delivery
	Headers []Header
	// Payload is the body, indented if it is JSON, up to a length that a browser
	// copes with; Cut says that there was more.
	Payload   string
	Cut       bool
	CanReplay bool
}

// Header is one header of a webhook.
type Header struct{ Name, Value string }

// DeadLetters is what failed too often.
type DeadLetters struct {
	Frame
	Items        []DeadLetter
	Newer, Older string
}

// DeadLetter is one entry of a queue that failed too often.
type DeadLetter struct {
	ID, Queue, Reason, Entry string
	Attempts                 int
	FailedAt                 time.Time
}

// Failure is a page that could not be shown.
type Failure struct {
	Frame
	Status int
	Detail string
}

// Pages renders. It is safe for concurrent use.
type Pages struct {
	templates map[string]*template.Template
	assets    map[string]asset
	// version changes with any asset, so that browsers may keep them for ever.
	version string
}

type asset struct {
	body  []byte
	media string
}

// New reads the embedded templates and assets.
func New() *Pages {
	p := &Pages{templates: map[string]*template.Template{}, assets: map[string]asset{}}
	sum := sha256.New()
	each(assetFiles, "assets", func(name string, body []byte) {
		p.assets[name] = asset{body, mediaTypes[path.Ext(name)]}
		sum.Write(body)
	})
	p.version = hex.EncodeToString(sum.Sum(nil))[:10]
	base := template.Must(template.New("").Funcs(functions(p.version)).ParseFS(templateFiles, "templates/_*.html"))
	each(templateFiles, "templates", func(name string, body []byte) {
		if !strings.HasPrefix(name, "_") {
			t := template.Must(base.Clone())
			p.templates[strings.TrimSuffix(name, ".html")] = template.Must(t.New("page").Parse(string(body)))
		}
	})
	return p
}

// each calls do with every file of an embedded folder.
func each(files embed.FS, folder string, do func(name string, body []byte)) {
	entries, err := fs.ReadDir(files, folder)
	if err != nil {
		panic(err) // the folder is compiled in
	}
	for _, e := range entries {
		body, err := files.ReadFile(folder + "/" + e.Name())
		if err != nil {
			panic(err)
		}
		do(e.Name(), body)
	}
}

var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// Assets serves the style sheet, the scripts and the icon.
func (p *Pages) Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := p.assets[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", a.media)
		if r.URL.Query().Get("v") == p.version {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	})
}

// SignIn renders the page that asks for a token.
func (p *Pages) SignIn(v SignIn) ([]byte, error) { return p.render("signin", v) }

// Onward renders the page after a sign-in at a forge.
func (p *Pages) Onward(v Onward) ([]byte, error) { return p.render("onward", v) }

// Setup renders the page from which an App is made.
func (p *Pages) Setup(v Setup) ([]byte, error) { return p.render("setup", v) }

// SetUp renders the page of an App that was made.
func (p *Pages) SetUp(v SetUp) ([]byte, error) { return p.render("setup-done", v) }

// Audit renders the audit log.
func (p *Pages) Audit(v Audit) ([]byte, error) { return p.render("audit", v) }

// Executions renders a list of executions.
func (p *Pages) Executions(v Executions) ([]byte, error) { return p.render("executions", v) }

// Execution renders one execution.
func (p *Pages) Execution(v Execution) ([]byte, error) { return p.render("execution", v) }

// Build renders one build or deployment.
func (p *Pages) Build(v Build) ([]byte, error) {
	v.Groups = groups(v.Build.Phases, v.Log.Lines)
	return p.render("build", v)
}

// Deliveries renders the ledger.
func (p *Pages) Deliveries(v Deliveries) ([]byte, error) { return p.render("deliveries", v) }

// Delivery renders one delivery.
func (p *Pages) Delivery(v Delivery) ([]byte, error) { return p.render("delivery", v) }

// DeadLetters renders what failed too often.
func (p *Pages) DeadLetters(v DeadLetters) ([]byte, error) { return p.render("deadletters", v) }

// Failure renders an error page.
func (p *Pages) Failure(v Failure) ([]byte, error) { return p.render("failure", v) }

func (p *Pages) render(name string, v any) ([]byte, error) {
	var b bytes.Buffer
	err := p.templates[name].ExecuteTemplate(&b, "frame", v)
	return b.Bytes(), err
}

// groups puts lines under the phases that they belong to.
func groups(phases []pipeline.Phase, lines []Line) []Group {
	var out []Group
	for _, l := range lines {
		phase := phaseAt(phases, l.N)
		if n := len(out); n == 0 || out[n-1].Phase.LogLine != phase.LogLine {
			out = append(out, Group{Phase: phase})
		}
		last := &out[len(out)-1]
		last.Lines = append(last.Lines, l)
	}
	return out
}

// phaseAt is the phase in which line n was written; the zero Phase before the
// first.
func phaseAt(phases []pipeline.Phase, n int64) pipeline.Phase {
	var found pipeline.Phase
	for _, p := range phases {
		if p.LogLine > 0 && p.LogLine <= n && p.LogLine >= found.LogLine {
			found = p
		}
	}
	return found
}
