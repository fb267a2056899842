package appspec

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/slipway-ci/slipway/internal/specfile"
)

const header = "version: 0.0\nos: linux\n"

// said is the problems as "line CODE", warnings in lower case.
func said(problems specfile.Problems) string {
	var lines []string
	for _, p := range problems {
		code := p.Code
		if p.Severity == specfile.Warning {
			code = strings.ToLower(code)
		}
		lines = append(lines, fmt.Sprintf("%d %s", p.Line, code))
	}
	return strings.Join(lines, ", ")
}

// parse wants a valid file.
func parse(t testing.TB, src string) *Spec {
	t.Helper()
	s, problems := Parse([]byte(src), Options{})
	if s == nil {
		t.Fatalf("refused: %v", problems)
	}
	return s
}

// TestRejections are the conformance cases of the CodeDeploy reference 9.1
// that end in an error, and those of 1.9 that have no case.
func TestRejections(t *testing.T) {
	perm := func(rest string) string { return header + "permissions:\n  - object: /x\n    " + rest + "\n" }
	hook := func(rest string) string { return header + "hooks:\n  AfterInstall:\n" + rest + "\n" }
	tests := []struct {
		name, src string
		want      string // as said puts it
		text      string // part of the first message
	}{
		{"D01 empty text", "", "1 APPSPEC_EMPTY", "version and os"},
		{"D02 blank and newline", " \n", "1 APPSPEC_EMPTY", ""},
		{"D02 only comments", "# nothing\n", "1 APPSPEC_EMPTY", ""},
		{"D03 no version", "os: linux\n", "1 APPSPEC_VERSION", `version ""`},
		{"D04 invalid version", "version: invalid\nos: linux\n", "1 APPSPEC_VERSION", `"invalid"`},
		{"version quoted", "version: '0.0'\nos: linux\n", "1 APPSPEC_VERSION", "quotes"},
		{"version not 0", "version: 0.1\nos: linux\n", "1 APPSPEC_VERSION", ""},
		{"version with three parts", "version: 0.0.1\nos: linux\n", "1 APPSPEC_VERSION", ""},
		{"D05 file_exists_behavior", header + "file_exists_behavior: invalid\n", "3 APPSPEC_FEB", "DISALLOW, OVERWRITE or RETAIN"},
		{"file_exists_behavior in lower case", header + "file_exists_behavior: overwrite\n", "3 APPSPEC_FEB", ""},
		{"D06 no os", "version: 0.0\n", "1 APPSPEC_OS", `""`},
		{"D07 unsupported os", "version: 0.0\nos: unsupported\n", "2 APPSPEC_OS", `"unsupported"`},
		{"os in another case", "version: 0.0\nos: Linux\n", "2 APPSPEC_OS", "linux or windows"},
		{"D15 script with only a timeout", hook("    - timeout: 30"), "5 HOOK_LOCATION", ""},
		{"blank location", hook("    - location: ' '"), "5 HOOK_LOCATION", ""},
		{"symbol key", hook("    - :location: x"), "5 key_unknown, 5 HOOK_LOCATION", ""},
		{"location leaves the revision", hook("    - location: ../x.sh"), "5 HOOK_LOCATION", "leaves"},
		{"D16 timeout foo", hook("    - location: a\n      timeout: foo"), "6 HOOK_TIMEOUT", `"foo"`},
		{"timeout 0", hook("    - location: a\n      timeout: 0"), "6 HOOK_TIMEOUT", ""},
		{"timeout negative", hook("    - location: a\n      timeout: -5"), "6 HOOK_TIMEOUT", ""},
		{"timeout in base 60", hook("    - location: a\n      timeout: 1:30"), "6 HOOK_TIMEOUT", ""},
		{"D18 mapping without destination", header + "files:\n  - source: src\n", "4 FILES_DEST", `"src"`},
		{"D19 mapping without source", header + "files:\n  - destination: /d\n", "4 FILES_SOURCE", `"/d"`},
		{"mapping is text", header + "files:\n  - src\n", "4 FILES_SOURCE", ""},
		{"files is a map", header + "files:\n  source: a\n", "4 FILES_SHAPE", "a dash"},
		{"source leaves the revision", header + "files:\n  - {source: a/../../b, destination: /d}\n", "4 FILES_SOURCE", "leaves"},
		{"D20 permission without object", header + "permissions:\n  - pattern: x\n", "4 PERM_OBJECT", ""},
		{"D28 ACE of 1 part", perm("acls: ['7']"), "5 PERM_ACE", "1 parts"},
		{"D28 ACE of 5 parts", perm("acls: ['d:u:bob:7:rwx']"), "5 PERM_ACE", "5 parts"},
		{"D31 named mask", perm("acls: ['mask:name:rwx']"), "5 PERM_ACE", "no name"},
		{"D31 named other", perm("acls: ['d:other:name:rwx']"), "5 PERM_ACE", "no name"},
		{"D31 character", perm("acls: ['user:bob:rwxd']"), "5 PERM_ACE_CHAR", `'d'`},
		{"default twice", perm("acls: ['d:d:bob:7']"), "5 PERM_ACE", ""},
		{"D32 base entries", perm("acls: ['u::7', 'g::7', 'o:7']"), "5 PERM_ACE_BASE, 5 PERM_ACE_BASE, 5 PERM_ACE_BASE", "mode"},
		{"D35 context with only a name", perm("context: {name: x}"), "5 PERM_CONTEXT_TYPE", ""},
		{"context is text", perm("context: x"), "5 PERM_CONTEXT_TYPE", ""},
		{"D36 mode too long", perm("mode: 12345"), "5 PERM_MODE_LEN", ""},
		{"D36 mode 12a", perm("mode: 12a"), "5 PERM_MODE_CHAR", `'a'`},
		{"mode 888", perm("mode: 888"), "5 PERM_MODE_CHAR", ""},
		{"symbolic mode", perm("mode: u+x"), "5 PERM_MODE_CHAR", ""},
		{"mode with underscore", perm("mode: 7_55"), "5 PERM_MODE_CHAR", ""},
		{"mode of nothing", perm("mode: ''"), "5 PERM_MODE_LEN", ""},
		{"type", perm("type: [link]"), "5 PERM_TYPE", `"link"`},
		{"type is text", perm("type: file"), "5 PERM_TYPE", ""},
		{"except is text", perm("except: x"), "5 PERM_EXCEPT", ""},
		{"permissions on windows", "version: 0.0\nos: windows\npermissions:\n  - object: x\n", "4 PERM_WINDOWS", ""},
		{"hooks is a list", header + "hooks:\n  - AfterInstall: x\n", "4 HOOK_SHAPE", ""},
		{"event is a map", hook("    location: x"), "5 HOOK_SHAPE", ""},
		{"event is text", header + "hooks:\n  AfterInstall: x.sh\n", "4 HOOK_SHAPE", ""},
		{"list of texts", hook("    - x.sh"), "5 HOOK_SHAPE", ""},
		{"timeout aligned with the event", header + "hooks:\n  AfterInstall:\n  - location: x\n  timeout: 3\n", "6 hook_unknown, 6 HOOK_SHAPE", ""},
		{"duplicate top-level key", header + "os: linux\n", "3 DUP_KEY", "lines 2 and 3"},
		{"two locations in one item", hook("    - location: a\n      location: b"), "6 DUP_KEY", ""},
		{"same event twice", hook("    - location: a\n  AfterInstall:\n    - location: b"), "6 DUP_KEY", ""},
		{"tab", header + "hooks:\n\tAfterInstall:\n", "4 APPSPEC_YAML", "tab"},
		{"unquoted pattern", perm("pattern: *.txt"), "5 APPSPEC_YAML", ""},
		{"custom tag", header + "hooks: !ruby/object:Foo {}\n", "3 APPSPEC_YAML", "!ruby"},
		{"two documents", header + "---\nversion: 0.0\n", "4 APPSPEC_YAML", ""},
		{"top level is a list", "- version: 0.0\n", "1 APPSPEC_TYPE", ""},
		{"event at both levels", hook("    - location: a\nAfterInstall:\n  - location: b"), "6 HOOK_AMBIGUOUS", "line 4"},
		{"input of create-deployment", "applicationName: x\nrevision: {}\n", "1 APPSPEC_VERSION, 1 APPSPEC_OS, 1 key_typo, 2 key_typo", "create-deployment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, problems := Parse([]byte(tt.src), Options{})
			if s != nil {
				t.Error("accepted")
			}
			if got := said(problems); got != tt.want {
				t.Errorf("got  %s\nwant %s\n%v", got, tt.want, problems)
			}
			var all []string
			for _, p := range problems {
				all = append(all, p.Text())
			}
			if !strings.Contains(strings.Join(all, "\n"), tt.text) {
				t.Errorf("want %q in %q", tt.text, all)
			}
		})
	}
}

func TestHeaderOnly(t *testing.T) { // D08
	want := &Spec{Kind: Server, OS: "linux"}
	if diff := cmp.Diff(want, parse(t, header), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("D08 (-want +got):\n%s", diff)
	}
}

func TestVersions(t *testing.T) {
	for _, v := range []string{"0", "0.0", "0.00", "-0.0"} {
		parse(t, "version: "+v+"\nos: linux\n")
	}
}

func TestScripts(t *testing.T) {
	tests := []struct {
		name, hooks string
		want        map[string][]Script
	}{
		{"D09 one script", "  AfterInstall:\n    - location: a.sh\n      runas: foo\n      timeout: 30\n",
			map[string][]Script{AfterInstall: {{Location: "a.sh", RunAs: "foo", Timeout: 30 * time.Second}}}},
		{"D10 sudo", "  AfterInstall:\n    - {location: a.sh, runas: foo, timeout: 30, sudo: true}\n",
			map[string][]Script{AfterInstall: {{Location: "a.sh", RunAs: "foo", Timeout: 30 * time.Second, Sudo: true}}}},
		{"D11 D12 D13 order, runas and timeout", "  AfterInstall:\n    - location: a\n    - {location: b, runas: foo3, timeout: 30}\n",
			map[string][]Script{AfterInstall: {{Location: "a", Timeout: time.Hour}, {Location: "b", RunAs: "foo3", Timeout: 30 * time.Second}}}},
		{"D14 event of nothing", "  BeforeInstall:\n  AfterInstall:\n    - location: a\n",
			map[string][]Script{AfterInstall: {{Location: "a", Timeout: time.Hour}}}},
		{"list at the indent of its key, leading slash, text as timeout", "  AfterInstall:\n  - location: /bin/a.sh\n    timeout: \"10\"\n",
			map[string][]Script{AfterInstall: {{Location: "bin/a.sh", Timeout: 10 * time.Second}}}},
		{"timeout with a unit", "  AfterInstall:\n  - {location: yes, timeout: 5m}\n",
			map[string][]Script{AfterInstall: {{Location: "yes", Timeout: 5 * time.Minute}}}},
		{"args and env", "  AfterInstall:\n  - {location: a, args: [x, 0644], env: {A: 1}}\n",
			map[string][]Script{AfterInstall: {{Location: "a", Timeout: time.Hour, Args: []string{"x", "0644"}, Env: []string{"A=1"}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parse(t, header+"hooks:\n"+tt.hooks).Hooks
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Script{}, "Line", "Column")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFiles(t *testing.T) { // D17
	got := parse(t, header+"files:\n  - {source: /, destination: /a}\n  - source: ./b/\n    destination: /c/\n").Files
	want := []File{{Source: ".", Destination: "/a", Line: 4, Column: 5}, {Source: "b", Destination: "/c/", Line: 5, Column: 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("D17 (-want +got):\n%s", diff)
	}
}

func TestAdditionsToFiles(t *testing.T) {
	got := parse(t, header+"files:\n  - {source: 'd/*', destination: /a, exclude: [./x, /y/**], destination_file: z}\n").Files
	want := []File{{Source: "d/*", Destination: "/a", Name: "z", Exclude: []string{"x", "y/**"}, Line: 4, Column: 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for keys, message := range map[string]string{
		"destination_file: a/b": "files[0].destination_file: want the name of a file, without a folder",
		"destination_file: ..":  "files[0].destination_file: want the name",
		"exclude: '[a'":         `files[0].exclude[0]: "[a" is no pattern such as **/*.map`,
		"exclude: [a, '']":      "files[0].exclude[1]",
		"exclude: {a: b}":       "files[0].exclude",
		"exclude: [" + strings.Repeat("a, ", maxExcludes) + "b]": "want at most 100 patterns",
	} {
		_, problems := Parse([]byte(header+"files:\n  - {source: d, destination: /a, "+keys+"}\n"), Options{})
		if !problems.HasErrors() || !strings.Contains(problems[0].Message, message) || problems[0].Line != 4 {
			t.Errorf("%s: got %v, want %s", keys, problems, message)
		}
	}
}

func TestPermissions(t *testing.T) { // D21
	var got []string
	for _, p := range parse(t, header+"permissions:\n - object: /\n - object: test\n - object: more\n").Permissions {
		got = append(got, p.Object+" "+p.Pattern)
	}
	if diff := cmp.Diff([]string{"/ **", "test **", "more **"}, got); diff != "" {
		t.Errorf("D21 (-want +got):\n%s", diff)
	}
}

func TestMatches(t *testing.T) {
	tests := []struct {
		name    string
		p       Permission
		yes, no []string
	}{
		{"D25", Permission{Object: "test", Pattern: "prefix*"},
			[]string{"prefix", "prefix_matches"}, []string{"prefix/x", "not_prefix"}},
		{"D26", Permission{Object: "test", Pattern: "**", Except: []string{"*ReadMe", "*.tmp"}},
			[]string{"prefix/x.tmp", "a"}, []string{"this.tmp", "this_ReadMe"}},
		{"everything", Permission{Pattern: "**"}, []string{"a", "a/b/c"}, nil},
		{"question mark is literal", Permission{Pattern: "a?"}, []string{"a?"}, []string{"ab"}},
		{"path", Permission{Pattern: "sub/*.[ch]"}, []string{"sub/a.c"}, []string{"sub/x/a.c", "a.c"}},
		{"except a path", Permission{Pattern: "**", Except: []string{"sub/c.txt", "**/x"}}, []string{"sub/d.txt"}, []string{"sub/c.txt", "a/b/x", "x"}},
		{"stars overlap", Permission{Pattern: "ab*ba"}, []string{"abba", "abxba"}, []string{"aba"}},
		{"middle", Permission{Pattern: "*b*c*"}, []string{"abxc", "bc"}, []string{"cb"}},
	}
	for _, tt := range tests {
		for _, name := range tt.yes {
			if !tt.p.Matches(name) {
				t.Errorf("%s: %q does not match", tt.name, name)
			}
		}
		for _, name := range tt.no {
			if tt.p.Matches(name) {
				t.Errorf("%s: %q matches", tt.name, name)
			}
		}
	}
}

// In the wild: 35.
func TestModes(t *testing.T) {
	tests := []struct {
		name, text string
		want       fs.FileMode
		warns      bool
	}{
		{"D27", "6763", fs.ModeSetuid | fs.ModeSetgid | 0o763, false},
		{"D36 two digits", "12", 0o12, false},
		{"D36 all bits", "7777", fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky | 0o777, false},
		{"D36 three digits", "777", 0o777, false},
		{"D86 0644 without quotes", "0644", 0o644, true},
		{"D87 0755 without quotes", "0755", 0o755, true},
		{"0755 in quotes", `"0755"`, 0o755, false},
		{"0o755", "0o755", 0o755, true},
	}
	for _, tt := range tests {
		s, problems := Parse([]byte(header+"permissions:\n  - object: /x\n    mode: "+tt.text+"\n"), Options{})
		if s == nil {
			t.Errorf("%s: %v", tt.name, problems)
		} else if got := *s.Permissions[0].Mode; got != tt.want || (len(problems) > 0) != tt.warns {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got, problems, tt.want)
		}
	}
}

func TestACE(t *testing.T) {
	tests := map[string]string{
		// D29
		"d:bob:rwx": "default:user:bob:rwx", "default::rw": "default:user::rw-", "m::7": "mask::rwx",
		"g:dev:7": "group:dev:rwx", "u:mask:7": "user:mask:rwx", "u:other:7": "user:other:rwx",
		// D30
		"bob:0": "user:bob:---", "m:7": "mask::rwx", "mask:": "mask::---",
		// D32
		"d:u:bob:7": "default:user:bob:rwx", "m:0": "mask::---", "1000:7": "user:1000:rwx",
	}
	for text, want := range tests {
		got, code, message := ParseACE(text)
		if code != "" || got.String() != want {
			t.Errorf("%s: got %s %s %s, want %s", text, got, code, message, want)
		}
	}
}

func TestFullACL(t *testing.T) { // D43
	var acl []ACE
	for _, text := range []string{"user:bob:rwx", "default:user:bob:rwx"} {
		a, _, _ := ParseACE(text)
		acl = append(acl, a)
	}
	var got []string
	for _, a := range FullACL(acl, 0o421) {
		got = append(got, a.String())
	}
	want := []string{"user:bob:rwx", "default:user:bob:rwx", "user::r--", "group::-w-", "other::--x", "mask::-w-",
		"default:user::r--", "default:group::-w-", "default:other::--x", "default:mask::-w-"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("D43 (-want +got):\n%s", diff)
	}
}

func TestRanges(t *testing.T) {
	for _, bad := range []string{"s3-s2:c0", "s3-:c0", ":c0", "s", "s0-s-1", "sd3", "d3", // D33
		"s0:c0.c2,c1", "s0:c1024", "s0:c2.c1", "s0:", "s0:c"} { // D34
		if r, err := ParseRange(bad); err == nil {
			t.Errorf("%s is accepted as %+v", bad, r)
		}
	}
	tests := []struct {
		text      string
		low, high int
		want      []int
	}{
		{"s0:c0.c1,c15,c7.c9", 0, 0, []int{0, 1, 7, 8, 9, 15}}, // D34
		{"s5", 5, 5, nil}, // D35
		{"s3-s7:c5,c8.c10,c17", 3, 7, []int{5, 8, 9, 10, 17}},
	}
	for _, tt := range tests {
		r, err := ParseRange(tt.text)
		if err != nil || r.Low != tt.low || r.High != tt.high || !cmp.Equal(r.Categories, tt.want) || r.String() != tt.text {
			t.Errorf("%s: got %+v, %v", tt.text, r, err)
		}
	}
}

// TestInTheWild are the findings 1 to 6 and 29 to 44 of files that people
// really have.
//
// In the wild: 1, 2, 3, 4, 5, 6, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 44.
func TestInTheWild(t *testing.T) {
	tests := []struct {
		name, src, want string // want as said puts it
		check           func(*Spec) bool
	}{
		{"01 scalars keep their text", header + "permissions:\n - {object: /x, owner: 0123, mode: '0640'}\n", "",
			func(s *Spec) bool { return s.Permissions[0].Owner == "0123" }},
		{"02 yes is true for sudo", header + "hooks:\n  AfterInstall:\n   - {location: a, sudo: YES}\n", "",
			func(s *Spec) bool { return s.Hooks[AfterInstall][0].Sudo }},
		{"03 duplicate keys name both lines", header + "files: []\nfiles: []\n", "4 DUP_KEY", nil},
		{"04 merge conflict", header + "<<<<<<< HEAD\nfiles: []\n", "4 APPSPEC_YAML", nil},
		{"04 placeholder", header + "hooks: {{ x }}\n", "3 APPSPEC_TYPE", nil},
		{"05 CRLF, leading dashes, no newline, emoji", "---\r\nversion: 0.0 # 🚀\r\nos: linux", "", nil},
		{"05 JSON", "{\n\t\"version\": 0.0,\n\t\"os\": \"linux\",\n\t\"files\": [{\"source\": \"/\", \"destination\": \"/a\"}]\n}", "",
			func(s *Spec) bool { return s.Files[0].Source == "." }},
		{"05 anchors and merge keys", header + "hooks:\n  AfterInstall: &a\n   - &s {location: a}\n  ApplicationStart: *a\n  ApplicationStop:\n   - <<: *s\n     runas: bob\n", "",
			func(s *Spec) bool { return s.Hooks[ApplicationStop][0].Location == "a" && len(s.Hooks) == 3 }},
		{"06 false is empty", "false\n", "1 APPSPEC_EMPTY", nil},
		{"06 BOM", "\uFEFF" + header, "", nil},
		{"29 unrelated product", "name: x\nsteps: []\n", "1 APPSPEC_VERSION, 1 APPSPEC_OS, 1 key_unknown, 2 key_unknown", nil},
		{"30 version 0", "version: 0\nos: linux\n", "", nil},
		{"31 ubuntu", "version: 0.0\nos: ubuntu\n", "2 APPSPEC_OS", nil},
		{"32 behaviour below a key of its own", header + "defaults:\n  file_exists_behavior: OVERWRITE\n", "4 key_unknown", nil},
		{"32 overwrite in an entry", header + "files:\n - source: /\n   destination: /a\n   overwrite: yes\n   file_exists_behavior: RETAIN\n", "6 key_unknown, 7 key_unknown", nil},
		{"33 sources", header + "files:\n - {source: x/, destination: /a}\n - {source: ./x, destination: /b}\n - {source: ., destination: /c}\n - {source: ./*, destination: /d}\n", "7 files_glob",
			func(s *Spec) bool {
				return s.Files[0].Source == "x" && s.Files[1].Source == "x" && s.Files[2].Source == "."
			}},
		{"33 backslash on windows", "version: 0.0\nos: windows\nfiles:\n - source: \\x\n   destination: C:\\y\n", "", func(s *Spec) bool { return s.Files[0].Source == "x" }},
		{"34 destination", header + "files:\n - {source: /, destination: ~/app}\n - {source: /, destination: /a/$X}\n - {source: /, destination: var/www}\n", "4 files_dest, 5 files_dest, 6 files_dest", nil},
		{"35 permissions", header + "permissions:\n - object: /\n   pattern: \"**\"\n   mode: 0644\n   type: [file]\n", "6 perm_mode_octal",
			func(s *Spec) bool { return *s.Permissions[0].Mode == 0o644 && !s.Permissions[0].Dirs }},
		{"36 reserved events", header + "hooks:\n  Install:\n   - location: a\n", "4 hook_reserved", func(s *Spec) bool { return len(s.Hooks) == 0 }},
		{"36 misspelt", header + "hooks:\n  ApplicatiionStart:\n   - location: a\npermission:\n - object: /x\n", "4 key_typo, 6 key_typo", func(s *Spec) bool { return len(s.Hooks) == 0 }},
		{"36 unknown event", header + "hooks:\n  Whatever:\n   - location: a\n", "4 hook_unknown", nil},
		{"36 D88 top level is hoisted", header + "hooks:\nBeforeInstall:\n  - location: a\n  - location: b\n", "4 hook_hoisted",
			func(s *Spec) bool { return len(s.Hooks[BeforeInstall]) == 2 }},
		{"36 top level without location", header + "BeforeInstall:\n", "3 key_typo", func(s *Spec) bool { return len(s.Hooks) == 0 }},
		{"37 empty hooks", header + "hooks:\nfiles:\npermissions:\n", "", nil},
		{"37 run instead of location", header + "hooks:\n  AfterInstall:\n   - location: a\n     run: x\n     interpreter: bash\n", "6 key_unknown, 7 key_unknown", nil},
		{"38 runas on windows", "version: 0.0\nos: windows\nhooks:\n  AfterInstall:\n   - {location: a, runas: Administrator}\n", "5 hook_runas", nil},
		{"38 long and octal timeouts", header + "hooks:\n  AfterInstall:\n   - {location: a, timeout: 7200}\n   - {location: a, timeout: 0300}\n", "5 hook_timeout, 6 hook_timeout",
			func(s *Spec) bool { return s.Hooks[AfterInstall][1].Timeout == 300*time.Second }},
		{"39 locations", header + "hooks:\n  AfterInstall:\n   - location: ./a.sh\n   - location: make run\n   - location: s.sh --flag\n", "7 hook_location",
			func(s *Spec) bool { return s.Hooks[AfterInstall][1].Location == "make run" }},
		{"44 ECS", "version: 0.0\nResources:\n - TargetService:\n     Type: AWS::ECS::Service\n     Properties:\n       TaskDefinition: <TASK_DEFINITION>\n       LoadBalancerInfo:\n         ContainerName: \"web\"\n         ContainerPort: 80\nHooks:\n - BeforeInstall: fn\n", "",
			func(s *Spec) bool { return s.Kind == ECS }},
		{"44 Lambda", "version: 1.0\nresources:\n - fn:\n     type: AWS::Lambda::Function\n     properties:\n       name: fn\n       alias: live\n       currentversion: 1\n       targetversion: \"2\"\nhooks:\n - BeforeAllowTrafic: fn\n", "1 appspec_version, 11 key_typo",
			func(s *Spec) bool { return s.Kind == Lambda }},
		{"29 resources in a file for servers", header + "Resources:\n - S:\n", "3 appspec_kind", func(s *Spec) bool { return s.Kind == Server }},
		{"44 Lambda without the optional current version", "version: 0.0\nResources:\n - f:\n     Type: AWS::Lambda::Function\n     Properties: {Name: f, Alias: l, TargetVersion: 2}\n", "",
			func(s *Spec) bool { return s.Kind == Lambda }},
		{"44 hooks and resources", "version: 0.0\nfiles: []\nResources:\n - f:\n     Type: AWS::Lambda::Function\n     Properties: {Name: f, Alias: l, TargetVersion: 2}\n", "2 appspec_kind",
			func(s *Spec) bool { return s.Kind == Lambda }},
		{"44 properties missing", "version: 0.0\nResources:\n - S:\n     Type: AWS::ECS::Service\n     Properties:\n       LoadBalancerInfo: {ContainerName: x}\n", "5 RESOURCES_PROPERTY, 6 RESOURCES_PROPERTY", nil},
		{"44 unindented resource", "version: 0.0\nResources:\n - S:\n   Type: AWS::ECS::Service\n", "3 RESOURCES_SHAPE", nil},
		{"44 unknown type", "version: 0.0\nResources:\n - S:\n     Type: AWS::S3::Bucket\n", "4 RESOURCES_TYPE", nil},
		{"44 two resources", "version: 0.0\nResources: [{a: 1}, {b: 1}]\n", "2 RESOURCES_COUNT", nil},
		{"44 hooks is a map", "version: 0.0\nResources:\n - S:\n     Type: AWS::ECS::Service\n     Properties: {TaskDefinition: x, LoadBalancerInfo: {ContainerName: x, ContainerPort: 1}}\nHooks: {BeforeInstall: x}\n", "6 HOOK_SHAPE", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, problems := Parse([]byte(tt.src), Options{})
			if got := said(problems); got != tt.want {
				t.Errorf("got  %s\nwant %s\n%v", got, tt.want, problems)
			}
			if (s == nil) != problems.HasErrors() || s != nil && tt.check != nil && !tt.check(s) {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	hoisted := []byte(header + "AfterInstall:\n - location: a\n")
	if s, problems := Parse(hoisted, Options{AWS: true}); s == nil || len(s.Hooks) != 0 || said(problems) != "3 key_typo" {
		t.Errorf("AWS: %+v, %v", s, problems)
	}
	if s, problems := Parse(hoisted, Options{Strict: true}); s != nil || said(problems) != "3 HOOK_HOISTED" {
		t.Errorf("Strict: %+v, %v", s, problems)
	}
	if s, problems := Parse([]byte("version: 0.0\nos: windows\n"), Options{Platform: "linux"}); s != nil || said(problems) != "2 APPSPEC_OS" {
		t.Errorf("Platform: %+v, %v", s, problems)
	}
}

// FuzzParse: no panic, an answer either way, and every problem has a position
// inside the file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(header + "files:\n - {source: /, destination: /a}\nhooks:\n  AfterInstall:\n   - location: a\n     timeout: 5m\n"))
	f.Add([]byte(header + "permissions:\n - object: /\n   acls: ['d:u:bob:7']\n   context: {type: t, range: 's0:c1.c3'}\n"))
	f.Add([]byte("version: 0.0\nResources:\n - S:\n     Type: AWS::ECS::Service\n     Properties: {TaskDefinition: x}\nHooks:\n - a: b\n"))
	f.Add([]byte("a: &x [*x]\nBeforeInstall:\n- location: x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems := Parse(data, Options{})
		if (s == nil) != problems.HasErrors() {
			t.Fatalf("spec %+v with %v", s, problems)
		}
		// A lone CR, NEL, LS and PS end lines of YAML too.
		lines := 1
		for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
			lines += strings.Count(string(data), end)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Code == "" || p.Message == "" {
				t.Fatalf("problem without a position: %+v", p)
			}
		}
	})
}

func Example() {
	spec, problems := Parse([]byte("version: 0.0\nos: linux\nhooks:\n  AfterInstal:\n    - location: start.sh\n"), Options{})
	fmt.Println(spec.OS, len(spec.Hooks))
	for _, p := range problems {
		fmt.Println("appspec.yml:" + p.String())
	}
	// Output:
	// linux 0
	// appspec.yml:4:3: warning: unknown lifecycle event AfterInstal, its scripts never run (did you mean AfterInstall?)
}

// A dash before each key makes an item of each: the message says so.
func TestSplitItemsAreExplained(t *testing.T) {
	tests := []struct{ src, want string }{
		{"files:\n - source: /\n - destination: /a\n", "belongs to the item next to it"},
		{"hooks:\n  AfterInstall:\n   - location: a\n   - timeout: 30\n", "if timeout belongs to the item next to it"},
	}
	for _, tt := range tests {
		spec, problems := Parse([]byte(header+tt.src), Options{})
		if spec != nil || !strings.Contains(problems[0].Hint, tt.want) {
			t.Errorf("%s\ngot %v, want a hint with %q", tt.src, problems, tt.want)
		}
	}
}
