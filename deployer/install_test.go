package deployer

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/testenv"
)

func with(behavior string) func(*Deployment) {
	return func(d *Deployment) { d.FileExistsBehavior = behavior }
}

// In the wild: 32, 33, 34.
func TestPlanRefuses(t *testing.T) {
	perms := func(p string) string { return files("  - {source: a, destination: /d}\n") + "permissions:\n" + p }
	tests := []struct {
		name, code, spec string
		text             string // in the message
	}{
		{"D37 two sources for one file", "PLAN_DUP_SOURCE", files("  - {source: a/f, destination: /d}\n  - {source: b/f, destination: /d}\n"), "a/f and b/f"},
		{"D38 folder, then file", "PLAN_FILE_DIR", files("  - {source: b, destination: /d/f}\n  - {source: a/f, destination: /d}\n"), "/d/f"},
		{"D38 file, then folder", "PLAN_FILE_DIR", files("  - {source: a/f, destination: /d}\n  - {source: b, destination: /d/f}\n"), "/d/f"},
		{"D40 D110 overlap", "PERM_OVERLAP", perms("  - {object: /d, mode: 600}\n  - {object: /d/sub, mode: 640}\n"), "/d/sub/g"},
		{"D22 pattern for a file", "PERM_FILE_PATTERN", perms("  - {object: /d/f, pattern: 'x*'}\n"), "/d/f"},
		{"D23 except for a file", "PERM_FILE_EXCEPT", perms("  - {object: /d/f, except: [x]}\n"), "/d/f"},
		{"D24 default ace for a file", "PERM_ACE_FILE", perms("  - {object: /d/f, acls: ['d:u:root:7']}\n"), "/d/f"},
		{"no such user", "PERM_OWNER", perms("  - {object: /d, owner: nobody-of-that-name}\n"), "nobody-of-that-name"},
		{"D91 source missing", "FILES_SOURCE", files("  - {source: missing, destination: /d}\n"), "missing"},
		{"a pattern that finds nothing", "FILES_SOURCE", files("  - {source: 'dist/*.jar', destination: /d}\n"), "nothing in the revision matches the source dist/*.jar"},
		{"a pattern that is none", "FILES_SOURCE", files("  - {source: '[a', destination: /d}\n"), "nothing in the revision matches"},
		{"a name for several files", "FILES_DEST", files("  - {source: '*/f', destination: /d, destination_file: g}\n"), "2 files match, a/f and others"},
		{"a name for a folder", "FILES_DEST", files("  - {source: a, destination: /d, destination_file: g}\n"), "the source a is a folder"},
		{"a name for a folder that a pattern finds", "FILES_DEST", files("  - {source: 'a/s*', destination: /d, destination_file: g}\n"), "sub is a folder"},
		{"a pattern and a folder for one file", "PLAN_DUP_SOURCE", files("  - {source: a, destination: /d}\n  - {source: '*/f', exclude: [a/**], destination: /d}\n  - {source: b, destination: /d}\n"), "a/f and b/f"},
		{"home folder", "FILES_DEST", files("  - {source: a, destination: ~/x}\n"), "~"},
		{"D50 file exists", "FILE_EXISTS", files("  - {source: foreign.txt, destination: /srv}\n"), "/srv/foreign.txt"},
		{"file where a folder is wanted", "PLAN_FILE_DIR", files("  - {source: a, destination: /srv/foreign.txt}\n"), "/srv/foreign.txt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			write(t, filepath.Join(b.target, "srv/foreign.txt"), "theirs", 0o644)
			b.ok("d-1", map[string]string{"appspec.yml": files("  - {source: old, destination: /old}\n"), "old/o": "old"})
			before := b.tree()
			_, err := b.fails("d-2", tt.code, map[string]string{"appspec.yml": tt.spec, "a/f": "af", "a/sub/g": "g", "b/f": "bf", "foreign.txt": "ours"})
			if !strings.Contains(err.Msg, tt.text) || err.Line == 0 || err.File != "appspec.yml" {
				t.Errorf("got %+v, want %q", err, tt.text)
			}
			b.wantTree(before) // D91, D110: nothing changed
		})
	}
}

func TestWrongTypeIsNoError(t *testing.T) { // D22
	b := newBox(t)
	b.ok("d-1", map[string]string{"a": "x", "appspec.yml": files("  - {source: a, destination: /d}\n") +
		"permissions:\n  - {object: /d/a, pattern: glob, type: [directory]}\n"})
}

// In the wild: 33, 34, 35.
func TestInstall(t *testing.T) {
	tests := []struct {
		name  string
		host  map[string]string
		spec  string
		files map[string]string
		opt   string
		want  map[string]string
	}{
		{"D53 file source into a new folder", map[string]string{"/dst1/x": "x"}, files("  - {source: src1, destination: /dst1/foo/bar}\n"),
			map[string]string{"src1": "1"}, "",
			map[string]string{"/dst1": "755", "/dst1/x": "644 x", "/dst1/foo": "755", "/dst1/foo/bar": "755", "/dst1/foo/bar/src1": "644 1"}},
		{"D54 folder source", nil, files("  - {source: s, destination: /D/}\n"), map[string]string{"s/foo": "f", "s/bar": "b"}, "",
			map[string]string{"/D": "755", "/D/foo": "644 f", "/D/bar": "644 b"}},
		{"D39 one folder written twice", nil, files("  - {source: a, destination: /D}\n  - {source: b, destination: /D/}\n"), map[string]string{"a": "a", "b": "b"}, "",
			map[string]string{"/D": "755", "/D/a": "644 a", "/D/b": "644 b"}},
		{"D51 appspec overwrites", map[string]string{"/D/f": "theirs"}, files("  - {source: f, destination: /D}\n") + "file_exists_behavior: OVERWRITE\n", map[string]string{"f": "ours"}, "DISALLOW",
			map[string]string{"/D": "755", "/D/f": "644 ours"}},
		{"D51 appspec retains", map[string]string{"/D/f": "theirs"}, files("  - {source: f, destination: /D}\n") + "file_exists_behavior: RETAIN\n", map[string]string{"f": "ours"}, "DISALLOW",
			map[string]string{"/D": "755", "/D/f": "644 theirs"}},
		{"D55 overwrite below", map[string]string{"/D/sub/bar": "theirs"}, files("  - {source: s, destination: /D}\n"), map[string]string{"s/sub/bar": "ours", "s/x": "x"}, "overwrite",
			map[string]string{"/D": "755", "/D/sub": "755", "/D/sub/bar": "644 ours", "/D/x": "644 x"}},
		{"D55 retain below", map[string]string{"/D/sub/bar": "theirs"}, files("  - {source: s, destination: /D}\n"), map[string]string{"s/sub/bar": "ours"}, "retain",
			map[string]string{"/D": "755", "/D/sub": "755", "/D/sub/bar": "644 theirs"}},
		{"D96 links stay links", nil, files("  - {source: s, destination: /D}\n"), map[string]string{"s/real/f": "f", "s/dir": "-> real", "s/file": "-> real/f"}, "",
			map[string]string{"/D": "755", "/D/real": "755", "/D/real/f": "644 f", "/D/dir": "-> real", "/D/file": "-> real/f"}},
		{"D97 a link is replaced, not written through", map[string]string{"/other": "theirs", "/D/f": "-> ../other"}, files("  - {source: f, destination: /D}\n"), map[string]string{"f": "ours"}, "OVERWRITE",
			map[string]string{"/other": "644 theirs", "/D": "755", "/D/f": "644 ours"}},
		{"destination is a link to a folder", map[string]string{"/real/x": "x", "/D": "-> real"}, files("  - {source: f, destination: /D}\n"), map[string]string{"f": "f"}, "",
			map[string]string{"/real": "755", "/real/x": "644 x", "/real/f": "644 f", "/D": "-> real"}},
		{"D86 D87 D89 modes", nil, files("  - {source: s, destination: /D}\n") + "permissions:\n  - {object: /D, type: [file], mode: 0640}\n  - {object: /D, type: [directory], mode: 0700}\n",
			map[string]string{"s/f": "f", "s/sub/g": "g"}, "",
			map[string]string{"/D": "755", "/D/f": "640 f", "/D/sub": "700", "/D/sub/g": "640 g"}},
		{"D89 include_self", nil, files("  - {source: s, destination: /D}\n") + "permissions:\n  - {object: /D, mode: 700, include_self: true}\n",
			map[string]string{"s/f": "f"}, "", map[string]string{"/D": "700", "/D/f": "700 f"}},
		{"a pattern finds files", nil, files("  - {source: 'dist/*.jar', destination: /D}\n"), map[string]string{"dist/a.jar": "a", "dist/b.jar": "b", "dist/c.txt": "c", "dist/d/e.jar": "e"}, "",
			map[string]string{"/D": "755", "/D/a.jar": "644 a", "/D/b.jar": "644 b"}},
		{"a pattern keeps folders", nil, files("  - {source: 'dist/**/*.jar', destination: /D}\n"), map[string]string{"dist/a.jar": "a", "dist/d/e.jar": "e", "dist/f/g": "g"}, "",
			map[string]string{"/D": "755", "/D/a.jar": "644 a", "/D/d": "755", "/D/d/e.jar": "644 e"}},
		{"a pattern finds folders and links", nil, files("  - {source: 's/*', destination: /D}\n"), map[string]string{"s/x/f": "f", "s/l": "-> x"}, "",
			map[string]string{"/D": "755", "/D/x": "755", "/D/x/f": "644 f", "/D/l": "-> x"}},
		{"two stars are all of it", nil, files("  - {source: 's/**', destination: /D}\n"), map[string]string{"s/x/f": "f", "s/g": "g"}, "",
			map[string]string{"/D": "755", "/D/x": "755", "/D/x/f": "644 f", "/D/g": "644 g"}},
		{"a file of the pattern's own name comes first", nil, files("  - {source: 's*', destination: /D}\n"), map[string]string{"s*": "star", "sx": "x"}, "",
			map[string]string{"/D": "755", "/D/s*": "644 star"}},
		{"exclude", nil, files("  - {source: s, destination: /D, exclude: ['**/*.map', /node_modules/**, top.txt]}\n"),
			map[string]string{"s/a.js": "a", "s/a.js.map": "m", "s/x/b.map": "m", "s/x/top.txt": "t", "s/node_modules/p/i.js": "p", "s/top.txt": "t"}, "",
			map[string]string{"/D": "755", "/D/a.js": "644 a", "/D/x": "755", "/D/x/top.txt": "644 t"}},
		{"exclude of what a pattern finds", nil, files("  - {source: 's/*', destination: /D, exclude: [b, 'd/*.txt']}\n"), map[string]string{"s/a": "a", "s/b": "b", "s/d/c": "c", "s/d/e.txt": "e"}, "",
			map[string]string{"/D": "755", "/D/a": "644 a", "/D/d": "755", "/D/d/c": "644 c"}},
		{"destination_file", nil, files("  - {source: conf/prod.yml, destination: /D, destination_file: app.yml}\n  - {source: 'app-*.jar', destination: /D, destination_file: app.jar}\n"),
			map[string]string{"conf/prod.yml": "c", "app-1.2.jar": "j"}, "",
			map[string]string{"/D": "755", "/D/app.yml": "644 c", "/D/app.jar": "644 j"}},
		{"names with blanks and signs", nil, files("  - {source: s, destination: '/D ;$x'}\n"), map[string]string{"s/a 'b\"": "1", "s/ü\n": "2"}, "",
			map[string]string{"/D ;$x": "755", "/D ;$x/a 'b\"": "644 1", "/D ;$x/ü\n": "644 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			for name, content := range tt.host {
				write(t, filepath.Join(b.target, name), content, 0o644)
			}
			rev := map[string]string{"appspec.yml": tt.spec}
			for name, content := range tt.files {
				rev[name] = content
			}
			b.ok("d-1", rev, with(tt.opt))
			b.wantTree(tt.want)
		})
	}
}

func TestOwnerAndSetuid(t *testing.T) { // D42, D90
	testenv.Need(t, "root")
	b := newBox(t)
	b.ok("d-1", map[string]string{"tool": "x", "appspec.yml": files("  - {source: tool, destination: /bin}\n") +
		"permissions:\n  - {object: /bin/tool, owner: nobody, group: 7, mode: 4755}\n"})
	b.wantTree(map[string]string{"/bin": "755", "/bin/tool": "s755 x"})
	e, _, err := look(filepath.Join(b.target, "bin/tool"))
	uid, uerr := lookupUser("nobody")
	if err != nil || uerr != nil || e.UID != uid || e.GID != 7 {
		t.Errorf("got owner %d:%d, %v, %v", e.UID, e.GID, err, uerr)
	}
}

// In the wild: 32.
func TestSecondRevisionReplacesTheFirst(t *testing.T) { // D49
	b := newBox(t)
	b.ok("d-1", map[string]string{"appspec.yml": files("  - {source: s, destination: /D}\n"), "s/same": "same", "s/gone": "gone", "s/dir/x": "x", "s/swap/x": "x", "s/file": "f"})
	write(t, filepath.Join(b.target, "D/dir/upload"), "by a user", 0o600) // D95
	past := time.Unix(1_500_000_000, 0)
	if err := os.Chtimes(filepath.Join(b.target, "D/same"), past, past); err != nil {
		t.Fatal(err)
	}
	b.ok("d-2", map[string]string{"appspec.yml": files("  - {source: s, destination: /D}\n"), "s/same": "same", "s/swap": "a file now", "s/file/y": "a folder now"})
	b.wantTree(map[string]string{"/D": "755", "/D/same": "644 same", "/D/dir": "755", "/D/dir/upload": "600 by a user",
		"/D/swap": "644 a file now", "/D/file": "755", "/D/file/y": "644 a folder now"})
	if info, err := os.Stat(filepath.Join(b.target, "D/same")); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("an unchanged file was touched: %v, %v", info.ModTime(), err)
	}
	if err := os.Remove(filepath.Join(b.target, "D/dir/upload")); err != nil {
		t.Fatal(err)
	}
	b.ok("d-3", map[string]string{"appspec.yml": header}) // D94
	b.wantTree(map[string]string{})                       // D95: the folder was still tracked
}

func TestRetainedThenDisallowed(t *testing.T) { // D92
	b := newBox(t)
	write(t, filepath.Join(b.target, "D/f"), "theirs", 0o644)
	rev := map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n"), "f": "ours"}
	b.ok("d-1", rev, with("RETAIN"))
	_, err := b.fails("d-2", "FILE_EXISTS", rev)
	if !strings.Contains(err.Msg, "retained by d-1") {
		t.Errorf("D92: got %v", err)
	}
	b.wantTree(map[string]string{"/D": "755", "/D/f": "644 theirs"})
}

func TestDrift(t *testing.T) { // D93
	b := newBox(t)
	rev := map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n"), "f": "ours"}
	b.ok("d-1", rev)
	write(t, filepath.Join(b.target, "D/f"), "edited", 0o644)
	r := b.ok("d-2", rev, with("RETAIN"))
	b.wantTree(map[string]string{"/D": "755", "/D/f": "644 ours"})
	kept, err := os.ReadFile(filepath.Join(b.d.root, "drift/d-2/D/f"))
	if warned(r) != "DRIFT" || string(kept) != "edited" {
		t.Errorf("D93: got %q, copy %q, %v", warned(r), kept, err)
	}
}

// CodeDeploy reference 3.6.
func TestOnDrift(t *testing.T) {
	for on, want := range map[string]string{DriftFail: "edited", DriftReplace: "ours"} {
		t.Run(on, func(t *testing.T) {
			b := newBox(t)
			rev := map[string]string{"appspec.yml": files("  - {source: s, destination: /D}\n"), "s/f": "ours", "s/g": "ours"}
			b.ok("d-1", rev)
			for _, name := range []string{"f", "g"} {
				write(t, filepath.Join(b.target, "D", name), "edited", 0o644)
			}
			set := func(d *Deployment) { d.OnDrift = on }
			if on == DriftFail {
				_, err := b.fails("d-2", "DRIFT", rev, set)
				if !strings.Contains(err.Msg, "/D/f was changed on this host since it was deployed, and 1 more; nothing was installed") {
					t.Errorf("got %q", err.Msg)
				}
			} else if r := b.ok("d-2", rev, set); warned(r) != "DRIFT DRIFT" {
				t.Errorf("got %q", warned(r))
			}
			b.wantTree(map[string]string{"/D": "755", "/D/f": "644 " + want, "/D/g": "644 " + want})
			if _, err := os.Stat(filepath.Join(b.d.root, "drift/d-2")); !os.IsNotExist(err) {
				t.Errorf("a copy was kept: %v", err)
			}
		})
	}
}

// A file that nobody touched is not read again; one of which size and time were
// kept is no such file.
func TestDriftOfTheSameSizeAndTime(t *testing.T) {
	b := newBox(t)
	rev := map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n"), "f": "ours"}
	b.ok("d-1", rev)
	name := filepath.Join(b.target, "D/f")
	put, _, err := look(name)
	if err != nil {
		t.Fatal(err)
	}
	put.SHA256 = "of the manifest"
	if now, _, err := examine(name, put); err != nil || now.SHA256 != put.SHA256 {
		t.Errorf("untouched: got the sum %q (%v), want the one that is known", now.SHA256, err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name, "edit", 0o644)
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	r := b.ok("d-2", rev)
	b.wantTree(map[string]string{"/D": "755", "/D/f": "644 ours"})
	if warned(r) != "DRIFT" {
		t.Errorf("got the warnings %q, want DRIFT", warned(r))
	}
	if r := b.ok("d-3", rev); warned(r) != "" {
		t.Errorf("nothing changed: got the warnings %q", warned(r))
	}
}

// A script may edit the revision before it is installed.
func TestBeforeInstallEditsTheRevision(t *testing.T) {
	b := newBox(t)
	script := "#!/bin/sh\ncd \"$SLIPWAY_ARCHIVE_DIR\" && touch -r f t && printf 2222 >f && touch -r t f && rm t\n"
	spec := files("  - {source: f, destination: /D}\n") + "hooks:\n  BeforeInstall:\n    - location: edit.sh\n"
	b.ok("d-1", map[string]string{"appspec.yml": spec, "f": "1111", "edit.sh": script})
	b.wantTree(map[string]string{"/D": "755", "/D/f": "644 2222"})
}

func TestTwoGroupsWantOneFile(t *testing.T) { // D108
	b := newBox(t)
	rev := map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n"), "f": "ours"}
	b.ok("d-1", rev)
	_, err := b.fails("d-2", "FILE_EXISTS", rev, func(d *Deployment) { d.Group = "other" })
	if !strings.Contains(err.Msg, "group production") {
		t.Errorf("D108: got %v", err)
	}
}

func TestIdenticalForeignFileIsNoConflict(t *testing.T) {
	b := newBox(t)
	write(t, filepath.Join(b.target, "D/f"), "same", 0o644)
	r := b.ok("d-1", map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n"), "f": "same"})
	if warned(r) != "ADOPTED" {
		t.Errorf("got %q", warned(r))
	}
}

func TestPermissionWithoutMatchWarns(t *testing.T) {
	b := newBox(t)
	r := b.ok("d-1", map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n") + "permissions:\n  - {object: /E, mode: 600}\n", "f": "x"})
	if warned(r) != "PERM_NO_MATCH" {
		t.Errorf("got %q", warned(r))
	}
}

// tools are stand-ins for setfacl and its kind: they note how they were
// called, and fail if told so.
func tools(t *testing.T, b *box, exit string) (log string) {
	t.Helper()
	testenv.Need(t, "sh")
	dir := t.TempDir()
	log = filepath.Join(t.TempDir(), "calls")
	for _, name := range []string{"setfacl", "semanage", "restorecon"} {
		write(t, filepath.Join(dir, name), "#!/bin/sh\necho "+name+" \"$@\" >>"+log+"\nexit "+exit+"\n", 0o755)
	}
	b.opts.Path = dir + ":" + usualPath
	b.restart()
	b.d.selinux = func() bool { return true }
	return log
}

const labelled = "permissions:\n  - object: /D/f\n    mode: 744\n    acls: ['u:bob:7']\n    context: {user: u, type: httpd_t, range: 's2-s3:c0,c2.c4'}\n"

func TestACLAndContext(t *testing.T) { // D41, D45, D107
	b := newBox(t)
	log := tools(t, b, "0")
	b.ok("d-1", map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n") + labelled, "f": "x"})
	b.ok("d-2", map[string]string{"appspec.yml": header})
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(b.target, "D/f")
	want := []string{
		"setfacl --set user:bob:rwx,user::rwx,group::r--,other::r--,mask::r-- -- " + filepath.Join(b.target, "D"),
		"semanage fcontext -a -s u -t httpd_t -r s2-s3:c0,c2.c4 " + at,
		"restorecon -v " + at,
		"semanage fcontext -d " + at,
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) == len(want) {
		lines[0], _, _ = strings.Cut(lines[0], "/.slipway-")
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestToolFails(t *testing.T) { // D44
	b := newBox(t)
	tools(t, b, "1")
	r, _ := b.fails("d-1", "PERM_TOOL", map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n") + labelled, "f": "x"})
	if !strings.Contains(statuses(r), "Install Failed") {
		t.Errorf("D44: got %s", statuses(r))
	}
	b.wantTree(map[string]string{})
}

func TestToolsMissing(t *testing.T) {
	b := newBox(t)
	b.opts.Path = t.TempDir()
	b.restart()
	rev := map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n") + labelled, "f": "x"}
	b.fails("d-1", "PERM_TOOL", rev)
	rev["appspec.yml"] = files("  - {source: f, destination: /D}\n") + "permissions:\n  - {object: /D/f, context: {type: t}}\n"
	if r := b.ok("d-2", rev); warned(r) != "PERM_CONTEXT" {
		t.Errorf("got %q", warned(r))
	}
}

// TestCutOffAnywhere ends an installation at every step, once by an error and
// once by a crash, and wants the host as it was before; the deployment after
// that must then succeed.
func TestCutOffAnywhere(t *testing.T) {
	first := map[string]string{"appspec.yml": files("  - {source: s, destination: /D}\n"), "s/keep": "1", "s/change": "1", "s/gone": "1",
		"s/dir/x": "1", "s/dir/deep/y": "1", "s/swap/z": "1", "s/file": "1", "s/link": "-> keep"}
	second := map[string]string{"appspec.yml": files("  - {source: s, destination: /D}\n  - {source: n, destination: /new/deep}\n") + "permissions:\n  - {object: /D, type: [directory], mode: 750}\n",
		"s/keep": "1", "s/change": "2", "s/swap": "2", "s/file/f": "2", "s/link": "-> change", "s/dir/x": "2", "n/a": "2", "n/theirs": "2"}
	prepare := func(t *testing.T) *box {
		b := newBox(t)
		write(t, filepath.Join(b.target, "new/deep/theirs"), "theirs", 0o640)
		b.ok("d-1", first)
		return b
	}
	reference := prepare(t)
	before := reference.tree()
	reference.ok("d-2", second, with("OVERWRITE"))
	after := reference.tree()
	for _, crash := range []bool{false, true} {
		for at := 0; ; at++ {
			b := prepare(t)
			cut := cutOff(b, at, crash)
			r, err := applyOrCrash(b, second)
			if !*cut {
				if at < 15 {
					t.Fatalf("only %d steps", at)
				}
				break
			}
			if !crash && (err == nil || !strings.Contains(statuses(r), "Install Failed")) {
				t.Fatalf("step %d: got %s, %v", at, statuses(r), err)
			}
			b.restart()
			if err := b.d.Recover(t.Context()); err != nil {
				t.Fatalf("step %d, crash %t: recovering: %v", at, crash, err)
			}
			if diff := cmp.Diff(before, b.tree()); diff != "" {
				t.Fatalf("step %d, crash %t (-want +got):\n%s", at, crash, diff)
			}
			b.ok("d-3", second, with("OVERWRITE"))
			b.wantTree(after)
		}
	}
}

// cutOff makes step number at fail.
func cutOff(b *box, at int, crash bool) *bool {
	var cut bool
	b.d.syncDisk = func(string) error { return nil } // no disk loses power here
	steps := make(chan int, 1)
	steps <- 0
	b.d.step = func(what string) error {
		n := <-steps
		steps <- n + 1
		if n != at {
			return nil
		}
		cut = true
		if crash && what != "stage" { // a panic in another goroutine can't be caught
			panic(errCrash)
		}
		return fmt.Errorf("step %s: %w", what, fs.ErrPermission)
	}
	return &cut
}

var errCrash = fmt.Errorf("power failure")

func applyOrCrash(b *box, rev map[string]string) (r Result, err error) {
	defer func() {
		if p := recover(); p != nil && p != errCrash {
			panic(p)
		}
	}()
	return b.apply("d-2", rev, with("OVERWRITE"))
}

func TestRecoverAfterCommit(t *testing.T) {
	b := newBox(t)
	rev := map[string]string{"appspec.yml": files("  - {source: f, destination: /D}\n"), "f": "2"}
	b.ok("d-1", rev)
	g := b.d.group("app.production")
	backup := filepath.Join(b.target, "D/.slipway-d-1-0.old")
	write(t, backup, "1", 0o644)
	if err := writeJSON(g.work("d-1").undo(), undoLog{1, []op{{Do: opPut, Path: filepath.Join(b.target, "D/f"), Backup: backup}}}); err != nil {
		t.Fatal(err)
	}
	if err := b.d.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantTree(map[string]string{"/D": "755", "/D/f": "644 2"})
}
