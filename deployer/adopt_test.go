package deployer

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
)

// adopt takes over what a cleanup file lists; "@" stands for the target.
func (b *box) adopt(cleanup string, change ...func(*Predecessor)) (Adopted, error) {
	b.t.Helper()
	p := Predecessor{Application: "app", Group: "production", Cleanup: strings.NewReader(strings.ReplaceAll(cleanup, "@", b.target))}
	for _, c := range change {
		c(&p)
	}
	return b.d.Adopt(b.t.Context(), p)
}

func TestAdopt(t *testing.T) {
	nothing := map[string]string{"appspec.yml": header}
	tests := []struct {
		name, cleanup string
		host          map[string]string
		want          Adopted
		after         map[string]string // a deployment of nothing
	}{
		{"D46 an empty cleanup file", "", map[string]string{"/D/f": "f"}, Adopted{}, map[string]string{"/D": "755", "/D/f": "644 f"}},
		{"D47 a file, a link, a folder, one with more in it", "@/D\n@/D/f\n@/D/l\n@/D/empty\n@/E\n@/E/g\n@/gone\n",
			map[string]string{"/D/f": "f", "/D/l": "-> f", "/D/empty/x": "x", "/E/g": "g", "/E/upload": "theirs"}, Adopted{Files: 3, Folders: 3, Gone: 1},
			map[string]string{"/D": "755", "/D/empty": "755", "/D/empty/x": "644 x", "/E": "755", "/E/upload": "644 theirs"}},
		{"D48 a line that was cut off", "@/a\n@/b\n@/mangled", map[string]string{"/a": "a", "/b": "b", "/mangled": "m"}, Adopted{Files: 2, Cut: true},
			map[string]string{"/mangled": "644 m"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			for name, content := range tt.host {
				write(t, filepath.Join(b.target, name), content, 0o644)
			}
			got, err := b.adopt(tt.cleanup)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("adopted: %v (-want +got):\n%s", err, diff)
			}
			b.ok("d-1", nothing)
			b.wantTree(tt.after)
		})
	}
}

// TestAdoptedFilesAreReplaced is the way of a host from CodeDeploy's agent to
// ours: no conflict, the old ApplicationStop runs, what is no longer wanted goes.
func TestAdoptedFilesAreReplaced(t *testing.T) {
	b := newBox(t)
	write(t, filepath.Join(b.target, "srv/index.html"), "old", 0o644)
	write(t, filepath.Join(b.target, "srv/gone.html"), "old", 0o644)
	old := revision(t, map[string]string{"appspec.yaml": header + "hooks:\n  ApplicationStop:\n    - location: stop.sh\n", "stop.sh": "echo the old one stops\n"})
	_, err := b.adopt("@/srv\n@/srv/index.html\n@/srv/gone.html\n", func(p *Predecessor) { p.Deployment, p.Archive = "d-AWS123", old })
	if err != nil {
		t.Fatal(err)
	}
	r := b.ok("d-1", map[string]string{"appspec.yml": files("  - {source: index.html, destination: /srv}\n"), "index.html": "new"})
	if r.Events[0].From != "d-AWS123" || !strings.Contains(b.rep.output.String(), "the old one stops\n") {
		t.Errorf("ApplicationStop is of %q: %s", r.Events[0].From, b.rep.output.String())
	}
	b.wantTree(map[string]string{"/srv": "755", "/srv/index.html": "644 new"})
}

func TestAdoptedFileContextsGo(t *testing.T) { // D45
	b := newBox(t)
	log := tools(t, b, "0")
	write(t, filepath.Join(b.target, "D/f"), "f", 0o644)
	if _, err := b.adopt("@/D\n@/D/f\nsemanage\x00@/D/f\n"); err != nil {
		t.Fatal(err)
	}
	b.ok("d-1", map[string]string{"appspec.yml": header})
	if data, err := os.ReadFile(log); err != nil || string(data) != "semanage fcontext -d "+filepath.Join(b.target, "D/f")+"\n" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestAdoptRefuses(t *testing.T) {
	tests := []struct {
		name, code, cleanup string
		change              func(*Predecessor)
	}{
		{"relative", "CLEANUP_INVALID", "@/a\nb\n", nil},
		{"empty line", "CLEANUP_INVALID", "\n", nil},
		{"outside of the root", "CLEANUP_INVALID", "/etc/passwd\n", nil},
		{"out by dots", "CLEANUP_INVALID", "@/../x\n", nil},
		{"no group", "DEPLOYMENT_INVALID", "", func(p *Predecessor) { p.Group = "" }},
		{"no appspec", "APPSPEC_MISSING", "", func(p *Predecessor) { p.Archive = t.TempDir() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			change := tt.change
			if change == nil {
				change = func(*Predecessor) {}
			}
			_, err := b.adopt(tt.cleanup, change)
			var mistake *pipeline.UserError
			if !errors.As(err, &mistake) || mistake.Code != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
	b := newBox(t)
	b.ok("d-1", map[string]string{"appspec.yml": header})
	var mistake *pipeline.UserError
	if _, err := b.adopt(""); !errors.As(err, &mistake) || mistake.Code != "GROUP_EXISTS" {
		t.Errorf("after a deployment of ours: got %v", err)
	}
	b = newBox(t)
	for _, in := range []io.Reader{iotest.ErrReader(io.ErrClosedPipe), strings.NewReader("/" + strings.Repeat("x", cleanupLineBytes))} {
		if _, err := b.adopt("", func(p *Predecessor) { p.Cleanup = in }); err == nil {
			t.Error("a file that can't be read is taken")
		}
	}
}

// FuzzAdopt: whatever a cleanup file says, nothing outside of the target is
// taken over, and a mistake has its line.
func FuzzAdopt(f *testing.F) {
	for _, seed := range []string{"", "@/a\n", "@/a\n@/b", "semanage\x00@/a\n", "/etc\n", "@/../x\n", "a\n", "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cleanup string) {
		d, err := New(Options{Root: filepath.Join(t.TempDir(), "state"), TargetRoot: filepath.Join(t.TempDir(), "host")})
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d.target, "a"), "a", 0o644)
		entries, _, err := d.readCleanup(strings.NewReader(strings.ReplaceAll(cleanup, "@", d.target)))
		var mistake *pipeline.UserError
		if errors.As(err, &mistake) && mistake.Line == 0 {
			t.Errorf("%v has no line", err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(d.host(e.Path), d.target+"/") {
				t.Errorf("%s lies outside of the target", e.Path)
			}
		}
	})
}
