package deployer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
)

const header = "version: 0.0\nos: linux\n"

// box is a host for tests: a deployer and the tree that it installs to.
type box struct {
	t      *testing.T
	d      *Deployer
	target string
	opts   Options
	rep    *recorder
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{t: t, target: filepath.Join(t.TempDir(), "host")}
	b.opts = Options{Root: filepath.Join(t.TempDir(), "state"), TargetRoot: b.target}
	b.restart()
	return b
}

// restart makes a new deployer over the same state.
func (b *box) restart() {
	b.t.Helper()
	d, err := New(b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	d.killGrace, d.outputGrace = time.Second, 300*time.Millisecond
	b.d, b.rep = d, &recorder{}
}

// recorder keeps what a Reporter hears.
type recorder struct {
	mu     sync.Mutex
	events []string
	output strings.Builder
}

func (r *recorder) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e.Name+" "+string(e.Status))
}

func (r *recorder) Output(_ string, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.output.Write(p)
}

func write(t testing.TB, name, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if to, isLink := strings.CutPrefix(content, "-> "); isLink {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// revision is a folder with these files; "-> x" makes a link. Scripts are 0644,
// as they mostly come.
func revision(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content, 0o644)
	}
	return dir
}

func (b *box) apply(id string, files map[string]string, change ...func(*Deployment)) (Result, error) {
	b.t.Helper()
	dep := Deployment{ID: id, Application: "app", Group: "production", Revision: revision(b.t, files)}
	for _, c := range change {
		c(&dep)
	}
	return b.d.Apply(b.t.Context(), dep, b.rep)
}

// ok applies a deployment that must succeed.
func (b *box) ok(id string, files map[string]string, change ...func(*Deployment)) Result {
	b.t.Helper()
	r, err := b.apply(id, files, change...)
	if err != nil || r.Status != pipeline.DeploymentSucceeded {
		b.t.Fatalf("%s: got %s, %v\n%s", id, r.Status, err, b.rep.output.String())
	}
	return r
}

// fails applies a deployment that must fail by its author's mistake.
func (b *box) fails(id, code string, files map[string]string, change ...func(*Deployment)) (Result, *pipeline.UserError) {
	b.t.Helper()
	r, err := b.apply(id, files, change...)
	var mistake *pipeline.UserError
	if !errors.As(err, &mistake) || mistake.Code != code {
		b.t.Fatalf("%s: got %v, want %s", id, err, code)
	}
	if r.Status != pipeline.DeploymentFailed && len(r.Events) > 0 {
		b.t.Errorf("%s: got status %s", id, r.Status)
	}
	if strings.Contains(err.Error(), b.d.root) {
		b.t.Errorf("%s: the error has a path of the host: %v", id, err)
	}
	return r, mistake
}

// tree is what lies on the host: mode and content, or link text, by path.
func (b *box) tree() map[string]string {
	b.t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(b.target, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == b.target {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%o", info.Mode().Perm())
		switch {
		case info.Mode().Type() == fs.ModeSymlink:
			to, _ := os.Readlink(p)
			text = "-> " + to
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if info.Mode()&fs.ModeSetuid != 0 {
				text = "s" + text
			}
			text += " " + string(data)
		}
		got[strings.TrimPrefix(p, b.target)] = text
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func (b *box) wantTree(want map[string]string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.tree()); diff != "" {
		b.t.Errorf("host (-want +got):\n%s", diff)
	}
}

func statuses(r Result) string {
	var s []string
	for _, e := range r.Events {
		s = append(s, e.Name+" "+string(e.Status))
	}
	return strings.Join(s, ", ")
}

func warned(r Result) string {
	var s []string
	for _, w := range r.Warnings {
		s = append(s, w.Code)
	}
	return strings.Join(s, " ")
}

func files(more string) string { return header + "files:\n" + more }

const all = "  - {source: /, destination: /app}\n"

func TestApplyRunsEventsInOrder(t *testing.T) {
	b := newBox(t)
	spec := files("  - {source: web, destination: /srv/web}\n") + "hooks:\n"
	for _, e := range appspec.Events {
		spec += "  " + e + ":\n    - location: hook.sh\n"
	}
	rev := map[string]string{"appspec.yml": spec, "web/index.html": "hello", "hook.sh": "echo $LIFECYCLE_EVENT $DEPLOYMENT_ID\n"}
	r := b.ok("d-1", rev)
	want := "ApplicationStop Succeeded, DownloadBundle Succeeded, BeforeInstall Succeeded, Install Succeeded, AfterInstall Succeeded, ApplicationStart Succeeded, ValidateService Succeeded"
	if got := statuses(r); got != want {
		t.Errorf("events: got %s", got)
	}
	if got := r.Events[0]; got.Scripts != 0 || got.From != "" {
		t.Errorf("D57: the first ApplicationStop ran something: %+v", got)
	}
	b.wantTree(map[string]string{"/srv": "755", "/srv/web": "755", "/srv/web/index.html": "644 hello"})
	r = b.ok("d-2", rev, func(d *Deployment) { d.Events = WithTraffic })
	if len(r.Events) != 11 || r.Events[2].From != "d-1" {
		t.Errorf("D82: got %s, from %q", statuses(r), r.Events[2].From)
	}
	for _, line := range []string{"BeforeInstall d-1", "ApplicationStop d-2", "AfterAllowTraffic d-2"} {
		if !strings.Contains(b.rep.output.String(), line+"\n") {
			t.Errorf("output lacks %q:\n%s", line, b.rep.output.String())
		}
	}
}

func TestBundles(t *testing.T) {
	for _, format := range []archive.Format{archive.Zip, archive.Tar, archive.TarGzip, archive.TarZstd} {
		t.Run(string(format), func(t *testing.T) {
			b := newBox(t)
			// D83: everything sits in one folder
			dir := revision(t, map[string]string{"top-1/appspec.yaml": files(all), "top-1/a.txt": "a"})
			entries, err := archive.List(os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(t.TempDir(), "bundle")
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			sum, err := archive.Pack(f, os.DirFS(dir), entries, archive.PackOptions{Format: format})
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			with := func(sum string) func(*Deployment) {
				return func(d *Deployment) { d.Revision, d.SHA256 = name, sum }
			}
			b.fails("d-0", "REVISION_SUM", nil, with("00"))     // D72
			b.ok("d-1", nil, with(strings.ToUpper(sum.SHA256))) // D102: only appspec.yaml
			if got := b.tree()["/app/a.txt"]; got != "644 a" {
				t.Errorf("a.txt: got %q", got)
			}
		})
	}
}

func TestRefusedBeforeTheFirstEvent(t *testing.T) {
	stop := header + "hooks:\n  ApplicationStop:\n    - location: stop.sh\n"
	tests := []struct {
		name, code string
		files      map[string]string
		change     func(*Deployment)
	}{
		{"D58 no appspec", "APPSPEC_MISSING", map[string]string{"a": ""}, nil},
		{"bad appspec", "APPSPEC_OS", map[string]string{"appspec.yml": "version: 0.0\nos: mac\n"}, nil},
		{"appspec for windows", "APPSPEC_OS", map[string]string{"appspec.yml": "version: 0.0\nos: windows\n"}, nil},
		{"both names", "APPSPEC_AMBIGUOUS", map[string]string{"appspec.yml": header, "appspec.yaml": header}, nil},
		{"ECS", "APPSPEC_KIND", map[string]string{"appspec.yml": "version: 0.0\nResources:\n - S:\n     Type: AWS::ECS::Service\n     Properties: {TaskDefinition: x, LoadBalancerInfo: {ContainerName: x, ContainerPort: 1}}\n"}, nil},
		{"D69 custom event", "HOOK_CUSTOM_MISSING", map[string]string{"appspec.yml": header}, func(d *Deployment) { d.Events = []string{"Custom"} }},
		{"D85 not there", "REVISION_MISSING", nil, func(d *Deployment) { d.Revision = "/nonexistent/bundle.zip" }},
		{"D76 no archive", "REVISION_INVALID", nil, func(d *Deployment) { d.Revision = "/bin/sh" }},
		{"link leaves", "REVISION_INVALID", map[string]string{"appspec.yml": header, "l": "-> ../../x"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			b.ok("d-1", map[string]string{"appspec.yml": stop, "stop.sh": "echo stopped"})
			change := tt.change
			if change == nil {
				change = func(*Deployment) {}
			}
			r, _ := b.fails("d-2", tt.code, tt.files, change)
			if !strings.HasPrefix(statuses(r), "ApplicationStop Skipped") && !strings.HasPrefix(statuses(r), "DownloadBundle Failed") {
				t.Errorf("got %s", statuses(r))
			}
			if strings.Contains(b.rep.output.String(), "stopped\n") {
				t.Error("the running application was stopped")
			}
		})
	}
}

func TestDeploymentInvalid(t *testing.T) { // D75, D52
	b := newBox(t)
	for _, change := range []func(*Deployment){
		func(d *Deployment) { d.ID = "" }, func(d *Deployment) { d.ID = "../x" }, func(d *Deployment) { d.Group = "" },
		func(d *Deployment) { d.Application = "" }, func(d *Deployment) { d.Revision = "" }, func(d *Deployment) { d.AppSpec = "../appspec.yml" },
	} {
		b.fails("d-1", "DEPLOYMENT_INVALID", nil, change)
	}
	_, err := b.fails("d-1", "APPSPEC_FEB", nil, func(d *Deployment) { d.FileExistsBehavior = "keep" })
	if !strings.Contains(err.Msg, "DISALLOW, OVERWRITE or RETAIN") {
		t.Errorf("D52: got %v", err)
	}
	dep, _, nerr := normalise(Deployment{ID: "arn:aws:codedeploy:x:1:deployment/d-9", Application: "a", Group: "g", Revision: "r", FileExistsBehavior: "retain"})
	if nerr != nil || dep.ID != "d-9" || dep.FileExistsBehavior != appspec.Retain {
		t.Errorf("D75, D77: got %+v, %v", dep, nerr)
	}
}

func TestOrder(t *testing.T) {
	tests := []struct {
		name string
		in   []string
		want string // empty means refused
	}{
		{"none", nil, strings.Join(InPlace, " ")},
		{"D84", []string{"ApplicationStart", "CustomEvent"}, "DownloadBundle Install ApplicationStart CustomEvent"},
		{"previous first", []string{"ApplicationStop", "ApplicationStart"}, "ApplicationStop DownloadBundle Install ApplicationStart"},
		{"before install", []string{"BeforeInstall", "AfterInstall"}, "DownloadBundle BeforeInstall Install AfterInstall"},
		{"D85 reversed", []string{"Install", "DownloadBundle"}, ""},
		{"too early", []string{"ApplicationStart", "DownloadBundle", "Install"}, ""},
		{"D68 not an instance's", []string{"AllowTraffic"}, ""},
		{"D68 no name", []string{""}, ""},
		{"twice", []string{"AfterInstall", "AfterInstall"}, ""},
	}
	for _, tt := range tests {
		got, err := order(tt.in)
		if strings.Join(got, " ") != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %v, %v", tt.name, got, err)
		}
	}
}

// In the wild: 43.
func TestWhoseScripts(t *testing.T) { // D59, D100, 2.2
	for _, tt := range []struct {
		event            string
		normal, rollback source
	}{
		{appspec.BeforeBlockTraffic, fromInstalled, fromDownloaded},
		{appspec.AfterBlockTraffic, fromInstalled, fromDownloaded},
		{appspec.ApplicationStop, fromInstalled, fromInstalled},
		{appspec.AfterInstall, fromCurrent, fromCurrent},
		{appspec.BeforeAllowTraffic, fromCurrent, fromInstalled},
	} {
		if n, r := scriptsOf(tt.event, false), scriptsOf(tt.event, true); n != tt.normal || r != tt.rollback {
			t.Errorf("%s: got %v and %v", tt.event, n, r)
		}
	}
}

func TestPointers(t *testing.T) {
	spec := header + "hooks:\n  ApplicationStop:\n    - location: stop.sh\n  ApplicationStart:\n    - location: start.sh\n"
	rev := func(name, start string) map[string]string {
		return map[string]string{"appspec.yml": spec, "stop.sh": "echo stop of " + name, "start.sh": start}
	}
	b := newBox(t)
	b.ok("d-1", rev("one", ""))
	b.fails("d-2", "ScriptFailed", rev("two", "exit 3"))
	r := b.ok("d-3", rev("three", ""))
	if got := r.Events[0].From; got != "d-2" {
		t.Errorf("D100: ApplicationStop ran the script of %s", got)
	}
	b.fails("d-4", "APPSPEC_MISSING", map[string]string{"x": ""})
	if err := os.RemoveAll(b.d.group("app.production").work("d-3").archive()); err != nil {
		t.Fatal(err)
	}
	r = b.ok("d-5", rev("five", ""))
	if warned(r) != "PREVIOUS_GONE SCRIPT_MODE" {
		t.Errorf("D101: got warnings %q", warned(r))
	}
}

func TestIgnoreApplicationStopFailures(t *testing.T) {
	spec := header + "hooks:\n  ApplicationStop:\n    - location: stop.sh\n"
	bad := map[string]string{"appspec.yml": spec, "stop.sh": "echo no; exit 7"}
	b := newBox(t)
	b.ok("d-1", bad)
	r, err := b.fails("d-2", "ScriptFailed", bad)
	if !strings.Contains(err.Msg, "exit code 7") || !strings.Contains(err.Msg, "d-1") || r.Events[0].Tail != "no\n" {
		t.Errorf("got %v, tail %q", err, r.Events[0].Tail)
	}
	if got := statuses(r); !strings.HasPrefix(got, "ApplicationStop Failed, DownloadBundle Skipped") {
		t.Errorf("got %s", got)
	}
	if _, err = b.fails("d-3", "ScriptFailed", bad); !strings.Contains(err.Msg, "ignore_stop_failures") {
		t.Errorf("the second failure shows no way out: %v", err)
	}
	r = b.ok("d-4", bad, func(d *Deployment) { d.IgnoreApplicationStopFailures = true })
	if warned(r) != "STOP_FAILED" || r.Events[0].Status != pipeline.DeploymentFailed {
		t.Errorf("got %s, %s", warned(r), statuses(r))
	}
}

func TestRetention(t *testing.T) { // D99
	b := newBox(t)
	for i := range 7 {
		b.ok(fmt.Sprintf("d-%d", i+1), map[string]string{"appspec.yml": header})
	}
	dirs, err := os.ReadDir(filepath.Join(b.d.group("app.production").dir, "deployments"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range dirs {
		names = append(names, d.Name())
	}
	if got := strings.Join(names, " "); got != "d-3 d-4 d-5 d-6 d-7" {
		t.Errorf("D99: got %s", got)
	}
}

func TestRepeatedAttempt(t *testing.T) {
	b := newBox(t)
	spec := header + "hooks:\n  AfterInstall:\n    - location: count.sh\n  ApplicationStart:\n    - location: start.sh\n"
	counter := filepath.Join(t.TempDir(), "count")
	rev := map[string]string{"appspec.yml": spec, "count.sh": "echo x >>" + counter, "start.sh": "exit 1"}
	b.fails("d-1", "ScriptFailed", rev)
	first := b.rep.events
	b.restart()
	r, _ := b.fails("d-1", "ScriptFailed", rev)
	if data, _ := os.ReadFile(counter); string(data) != "x\n" {
		t.Errorf("a script ran again: %q", data)
	}
	if len(r.Events) != 7 || len(first) == 0 {
		t.Errorf("got %s", statuses(r))
	}
}

func TestRestartWhileAScriptRan(t *testing.T) { // D80: code 7
	b := newBox(t)
	spec := header + "hooks:\n  AfterInstall:\n    - location: a.sh\n"
	rev := map[string]string{"appspec.yml": spec, "a.sh": "exit 0"}
	g := b.d.group("app.production")
	if err := os.MkdirAll(g.work("d-1").dir, 0o755); err != nil {
		t.Fatal(err)
	}
	journal := `{"name":"ApplicationStop","status":"Succeeded"}` + "\n" + `{"name":"AfterInstall","status":"InProgress","scripts":1}` + "\n" + `{"name":"AfterIn`
	write(t, g.work("d-1").journal(), journal, 0o600)
	r, _ := b.fails("d-1", "UnknownError", rev)
	if e := r.Events[4]; e.Code != CodeRestarted || e.Status != pipeline.DeploymentFailed {
		t.Errorf("got %+v", e)
	}
}

func TestStop(t *testing.T) {
	b := newBox(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	rep := &stopper{cancel: cancel}
	spec := header + "hooks:\n  AfterInstall:\n    - location: a.sh\n"
	dep := Deployment{ID: "d-1", Application: "app", Group: "production",
		Revision: revision(t, map[string]string{"appspec.yml": spec, "a.sh": "echo ready; sleep 60"})}
	r, err := b.d.Apply(ctx, dep, rep)
	if !errors.Is(err, pipeline.ErrStopped) || r.Status != pipeline.DeploymentStopped {
		t.Fatalf("got %s, %v", r.Status, err)
	}
	if got := statuses(r); !strings.HasSuffix(got, "AfterInstall Stopped, ApplicationStart Skipped, ValidateService Skipped") {
		t.Errorf("got %s", got)
	}
	again, err := b.d.Apply(t.Context(), dep, b.rep)
	if !errors.Is(err, pipeline.ErrStopped) || statuses(again) != statuses(r) || b.rep.output.String() != "" {
		t.Errorf("again: got %s, %v, %q", statuses(again), err, b.rep.output.String())
	}
}

// stopper stops the deployment at the first output of a script.
type stopper struct {
	silent
	cancel context.CancelCauseFunc
}

func (s *stopper) Output(_ string, p []byte) {
	if strings.Contains(string(p), "ready") {
		s.cancel(pipeline.ErrStopped)
	}
}

// Attacks: 5.
func TestSecretsAreMasked(t *testing.T) {
	b := newBox(t)
	spec := header + "hooks:\n  AfterInstall:\n    - location: a.sh\n"
	b.ok("d-1", map[string]string{"appspec.yml": spec, "a.sh": "echo token=$TOKEN"}, func(d *Deployment) {
		d.Variables = []pipeline.Variable{{Name: "TOKEN", Value: "s3cr3t-value", Secret: true}}
	})
	logged, err := os.ReadFile(b.d.group("app.production").work("d-1").log())
	if err != nil || strings.Contains(string(logged)+b.rep.output.String(), "s3cr3t") || !strings.Contains(string(logged), "[stdout]token=") {
		t.Errorf("got %v\n%s\n%s", err, logged, b.rep.output.String())
	}
}
