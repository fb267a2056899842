package deployer

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/internal/testenv"
)

func TestJournalIsOnDiskBeforeTheFirstChange(t *testing.T) { // D56
	b := newBox(t)
	w := b.d.group("app.production").work("d-1")
	first := true
	b.d.step = func(string) error {
		if first {
			if _, err := os.Stat(w.undo()); err != nil || len(b.tree()) > 0 {
				t.Errorf("D56: at the first change the journal: %v, and on the host: %v", err, b.tree())
			}
		}
		first = false
		return nil
	}
	b.ok("d-1", map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n"), "f": "x"})
	if s, err := b.d.group("app.production").load(); first || err != nil || s.Installed.ID != "d-1" {
		t.Errorf("D56: installed is %q, %v", s.Installed.ID, err)
	}
}

func TestEventWithoutScripts(t *testing.T) { // D57, D60
	b := newBox(t)
	r := b.ok("d-1", map[string]string{"appspec.yml": header})
	for _, e := range r.Events {
		if e.Scripts != 0 || e.From != "" {
			t.Errorf("%s ran %d scripts of %q", e.Name, e.Scripts, e.From)
		}
	}
	if !strings.HasPrefix(statuses(r), "ApplicationStop Succeeded") {
		t.Errorf("D57: got %s", statuses(r))
	}
}

// TestScriptCannotBeMadeExecutable takes another user's rights over files for
// its thread only, which ends with it.
func TestScriptCannotBeMadeExecutable(t *testing.T) { // D62
	testenv.Need(t, "root")
	dir, err := os.MkdirTemp("", "slipway") // t.TempDir's is root's alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "s.sh"), "exit 0\n", 0o644)
	var warnings []string
	r := runner{archive: dir, warn: func(code, _ string, _ ...any) { warnings = append(warnings, code) }}
	refused := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			refused <- err
			return
		}
		_, err := r.prepare(appspec.Script{Location: "s.sh"})
		refused <- err
	}()
	err = <-refused
	if s, ok := err.(*scriptError); !ok || s.code != CodeNotExecutable || !strings.Contains(s.msg, "can't be made so") {
		t.Errorf("D62: got %v", err)
	}
	if _, err := r.prepare(appspec.Script{Location: "s.sh"}); err != nil || len(warnings) != 2 {
		t.Errorf("D62: as root: %v, warnings %v", err, warnings)
	}
	if info, err := os.Stat(filepath.Join(dir, "s.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("D62: got mode %v, %v", info.Mode(), err)
	}
}

func TestNameOfTheAppspec(t *testing.T) { // D70, D102
	tests := []struct{ name, asked, have, want string }{
		{"the one that is asked for", "deploy/web.yml", "deploy/web.yml appspec.yml", "deploy/web.yml"},
		{"asked for, but not there", "web.yml", "appspec.yaml", "appspec.yaml"},
		{"appspec.yaml alone", "", "appspec.yaml", "appspec.yaml"},
		{"appspec.yml alone", "", "appspec.yml", "appspec.yml"},
		{"JSON alone", "", "appspec.json", "appspec.json"},
		{"asked for one of two", "appspec.yaml", "appspec.yml appspec.yaml", "appspec.yaml"},
		{"two", "", "appspec.yml appspec.yaml", ""},
		{"none", "web.yml", "readme", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rev := map[string]string{}
			for name := range strings.FieldsSeq(tt.have) {
				rev[name] = header
			}
			got, err := findSpec(revision(t, rev), tt.asked)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("D70: got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestLeftoversOfAnUnpackingThatWasCutOff(t *testing.T) { // D73
	b := newBox(t)
	w := b.d.group("app.production").work("d-1")
	write(t, filepath.Join(w.dir, "unpacking/debris"), "of a crash", 0o644)
	b.ok("d-1", map[string]string{"appspec.yml": files(all)})
	b.wantTree(map[string]string{"/app": "755", "/app/appspec.yml": "644 " + files(all)})
}

func TestFifoIsRefused(t *testing.T) { // D109
	b := newBox(t)
	dir := revision(t, map[string]string{"appspec.yml": files(all)})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := b.fails("d-1", "REVISION_INVALID", nil, func(d *Deployment) { d.Revision = dir })
	if !strings.Contains(err.Msg, "pipe") {
		t.Errorf("D109: a folder: got %v", err)
	}
	var bundle bytes.Buffer
	w := tar.NewWriter(&bundle)
	if err := w.WriteHeader(&tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "bundle.tar")
	write(t, name, bundle.String(), 0o644)
	_, err = b.fails("d-2", "REVISION_INVALID", nil, func(d *Deployment) { d.Revision = name })
	if !strings.Contains(err.Msg, "pipe") {
		t.Errorf("D109: a tar: got %v", err)
	}
	b.wantTree(map[string]string{})
}

func TestJournalOfAnyAgeIsTrusted(t *testing.T) { // D80
	b := newBox(t)
	w := b.d.group("app.production").work("d-1")
	write(t, w.journal(), `{"name":"AfterInstall","status":"InProgress","start":"2020-01-01T00:00:00Z","scripts":1}`+"\n", 0o600)
	long := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(w.journal(), long, long); err != nil {
		t.Fatal(err)
	}
	r, _ := b.fails("d-1", "UnknownError", map[string]string{"appspec.yml": header + "hooks:\n  AfterInstall:\n    - location: a.sh\n", "a.sh": "exit 0"})
	if e := lastRun(r); e.Code != CodeRestarted {
		t.Errorf("D80: got %+v", e)
	}
}

func TestFoldersOfTheBundleGetTheUsualMode(t *testing.T) { // D98
	b := newBox(t)
	dir := revision(t, map[string]string{"appspec.yml": files("  - {source: s, destination: /D}\n"), "s/private/f": "f"})
	if err := os.Chmod(filepath.Join(dir, "s/private"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.ok("d-1", nil, func(d *Deployment) { d.Revision = dir })
	b.wantTree(map[string]string{"/D": "755", "/D/private": "755", "/D/private/f": "644 f"})
}

func TestScriptsOfInstallNeverRun(t *testing.T) {
	b := newBox(t)
	spec := header + "hooks:\n  DownloadBundle:\n    - location: s.sh\n  Install:\n    - location: s.sh\n"
	r := b.ok("d-1", map[string]string{"appspec.yml": spec, "s.sh": "echo ran\n"})
	if got := b.rep.output.String(); !strings.HasSuffix(got, "Events that run scripts - none\n") {
		t.Errorf("got %q", got)
	}
	if got := warned(r); !strings.Contains(got, "HOOK_RESERVED") {
		t.Errorf("warnings %s, want HOOK_RESERVED", got)
	}
}

func TestWhatRunsIsSaidBefore(t *testing.T) {
	b := newBox(t)
	stop := header + "hooks:\n  ApplicationStop:\n    - location: s.sh\n  ValidateService:\n    - location: s.sh\n    - location: s.sh\n"
	b.ok("d-1", map[string]string{"appspec.yml": stop, "s.sh": ""})
	if got := b.rep.output.String(); !strings.HasPrefix(got, "Events that run scripts - ValidateService (2)\n") {
		t.Errorf("the first: got %q", got)
	}
	b.restart()
	r := b.ok("d-2", map[string]string{"appspec.yml": header, "scripts/start.sh": ""})
	if got := b.rep.output.String(); !strings.HasPrefix(got, "Events that run scripts - ApplicationStop of deployment d-1 (1)\n") || warned(r) != "NO_HOOKS" {
		t.Errorf("the second: got %q, %s", got, warned(r))
	}
	b.restart()
	traffic := header + "hooks:\n  AfterAllowTraffic:\n    - location: s.sh\n"
	r = b.ok("d-3", map[string]string{"appspec.yml": traffic, "s.sh": ""})
	if got := b.rep.output.String(); !strings.HasPrefix(got, "Events that run scripts - none\n") || warned(r) != "HOOKS_IDLE" {
		t.Errorf("the third: got %q, %s", got, warned(r))
	}
}

func TestWarningsOfTheAppspecAreInTheLog(t *testing.T) { // D88
	b := newBox(t)
	r := b.ok("d-1", map[string]string{"appspec.yml": header + "hooks:\nAfterInstall:\n  - location: a.sh\n", "a.sh": "echo hoisted\n"})
	for _, want := range []string{"warning: HOOK_HOISTED: appspec.yml:4:1", "hoisted\n"} {
		if !strings.Contains(b.rep.output.String(), want) {
			t.Errorf("the log lacks %q: %s", want, b.rep.output.String())
		}
	}
	if !strings.HasPrefix(warned(r), "HOOK_HOISTED") {
		t.Errorf("got %s", warned(r))
	}
}
