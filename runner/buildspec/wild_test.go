package buildspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// parse returns the spec of a file that must be valid, and its warnings.
func parse(t *testing.T, src string) (*Spec, specfile.Problems) {
	t.Helper()
	spec, problems := Parse("buildspec.yml", []byte(src), Options{})
	if err := problems.Err("buildspec.yml"); err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return spec, problems
}

// refused returns the errors of a file that must be invalid, one a line.
func refused(t *testing.T, src string) string {
	t.Helper()
	spec, problems := Parse("buildspec.yml", []byte(src), Options{})
	err := problems.Err("buildspec.yml")
	if err == nil {
		t.Fatal("accepted")
	}
	if spec != nil {
		t.Error("a refused file has a spec")
	}
	for _, p := range problems.Errors() {
		if p.Code != StatusCode {
			t.Errorf("%v: code %q, want %q", p, p.Code, StatusCode)
		}
	}
	return err.Error()
}

func texts(cs []Command) []string {
	var out []string
	for _, c := range cs {
		out = append(out, c.Text)
	}
	return out
}

func warned(problems specfile.Problems, code string, line int) bool {
	for _, p := range problems.Warnings() {
		if p.Code == code && p.Line == line {
			return true
		}
	}
	return false
}

const build = "version: 0.2\nphases:\n  build:\n    commands:\n"

// In the wild: 1.
func TestWild01ScalarsKeepSourceText(t *testing.T) {
	spec, _ := parse(t, `version: 0.2
env:
  variables:
    INT: 42
    ACCOUNT: 012345678901
    BOOL: true
    UPPER: True
    FLOAT: 1.10
    NOTHING:
    MODE: 0644
phases:
  install:
    runtime-versions:
      python: 3.10
  build:
    commands: [true, 1.50]
`)
	got := map[string]string{}
	for _, v := range spec.Env.Variables {
		got[v.Name] = v.Value
	}
	want := map[string]string{"INT": "42", "ACCOUNT": "012345678901", "BOOL": "true", "UPPER": "True", "FLOAT": "1.10", "NOTHING": "", "MODE": "0644"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if d := cmp.Diff([]Runtime{{"python", "3.10", 14}}, spec.Phase(Install).Runtimes); d != "" {
		t.Errorf("runtimes (-want +got)\n%s", d)
	}
	if d := cmp.Diff([]string{"true", "1.50"}, texts(spec.Phase(Build).Commands)); d != "" {
		t.Errorf("commands (-want +got)\n%s", d)
	}
}

// In the wild: 2.
func TestWild02FlagsOfYAML11(t *testing.T) {
	for text, want := range map[string]bool{"yes": true, "YES": true, "on": true, "True": true, "'yes'": true, "no": false, "Off": false, "FALSE": false, "\"no\"": false} {
		spec, _ := parse(t, build+"      - x\nenv:\n  git-credential-helper: "+text+"\nartifacts:\n  files: a\n  discard-paths: "+text+"\n")
		if spec.Artifacts.DiscardPaths != want || spec.Env.GitCredentialHelper != want {
			t.Errorf("%s: got %v and %v, want %v", text, spec.Artifacts.DiscardPaths, spec.Env.GitCredentialHelper, want)
		}
	}
	if got := refused(t, build+"      - x\nartifacts: {files: a, discard-paths: maybe}\n"); !strings.Contains(got, `6:38: artifacts.discard-paths: want yes or no, have "maybe"`) {
		t.Error(got)
	}
}

// In the wild: 3.
func TestWild03DuplicateKeysNameBothLines(t *testing.T) {
	got := refused(t, build+"      - x\n  build:\n    commands: [y]\n")
	if want := `buildspec.yml:6:3: phases: key "build" occurs twice, in lines 3 and 6`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// In the wild: 4.
func TestWild04SyntaxErrorsHaveLineAndHint(t *testing.T) {
	tests := []struct{ name, src, position, text, hint string }{
		{"key off by one blank", "version: 0.2\nphases:\n  build:\n    commands:\n      - x\n   post_build:\n    commands:\n", ":6:4:", "at line 6", "indentation"},
		{"list item off by one blank", build + "      - x\n     - y\n", ":6:6:", "at line 6", "indentation"},
		{"script pasted with too little indent", build + "      - |\n        if true\nthen\n        fi\n", ":9:", "could not find expected ':' at line 9", "block"},
		{"comment between the lines of a plain command", build + "      - docker build \\\n        # the tag\n        -t x: y\n", ":7:", "at line 7", "comment"},
		{"command that starts with a bracket", build + "      - [ -f x ] && rm x\n", ":5:", "did not find expected '-' indicator at line 5", "quotes"},
		{"tab", "version: 0.2\nphases:\n\tbuild:\n", ":3:1:", "found character that cannot start any token at line 3", "tab"},
		{"placeholder", build + "      - {{ command }} --now\n", ":5:", "at line 5", "placeholder"},
		{"merge conflict", "version: 0.2\n<<<<<<< HEAD\nphases:\n=======\n", ":3:", "at line 3", "merge conflict"},
		{"Jenkinsfile behind the spec", build + "      - x\npipeline {\n  agent any\n}\n", ":8:", "at line 8", "pasted"},
		{"shell script", "#!/bin/bash\nset -e\n", ":2:1:", "want a map at the top level", "script"},
		{"editor's mark at the end", build + "      - x\n\n~\n~\n", ":8:", "could not find expected ':'", "delete the ~"},
		{"no colon behind version", "version 0.1\n\nphases:\n", ":3:7:", "mapping values", "line 1: a key needs a colon"},
		{"two keys in a line", "version: 0.2 phases: {}\n", ":1:20:", "mapping values", "each key a line of its own"},
		{"comment above a key off by one blank", build + "      - x\n  # then\n   post_build:\n    commands:\n", ":7:4:", "at line 7", "check the indentation"},
		{"quotes round a part", build + "      - \"a\" b\n", ":5:", "at line 5", "quotes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := refused(t, tt.src)
			for _, want := range []string{"buildspec.yml" + tt.position, tt.text, tt.hint} {
				if !strings.Contains(got, want) {
					t.Errorf("got %q, want %q in it", got, want)
				}
			}
		})
	}
}

// In the wild: 5.
func TestWild05AcceptedForms(t *testing.T) {
	tests := []struct{ name, src string }{
		{"CRLF", strings.ReplaceAll(build+"      - echo ok\n", "\n", "\r\n")},
		{"no newline at the end", build + "      - echo ok"},
		{"leading dashes", "---\n" + build + "      - echo ok\n"},
		{"byte order mark", "\ufeff" + build + "      - echo ok\n"},
		{"not ASCII", "# 完了 🚀\n" + build + "      - echo ok # 완료\n"},
		{"JSON", `{"version": "0.2", "phases": {"build": {"commands": ["echo ok"]}}}`},
		{"JSON with tabs", "{\n\t\"version\": 0.2,\n\t\"phases\": {\n\t\t\"build\": {\"commands\": [\"echo ok\"]}\n\t}\n}\n"},
		{"anchors", "version: 0.2\nx-c: &c [echo ok]\nphases:\n  build:\n    commands: *c\n"},
		{"merge keys", "version: 0.2\nx-b: &b\n  commands: [echo ok]\nphases:\n  build:\n    <<: *b\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, _ := parse(t, tt.src)
			if d := cmp.Diff([]string{"echo ok"}, texts(spec.Phase(Build).Commands)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
	if got := refused(t, strings.Repeat("#", MaxBytes+1)); !strings.Contains(got, "want at most 262144") {
		t.Error(got)
	}
}

// In the wild: 6.
func TestWild06NoMap(t *testing.T) {
	for src, want := range map[string]string{
		"": "the file is empty", "\ufeff": "the file is empty", "# only this\n": "the file is empty", "---\n": "the file is empty",
		"- a\n": "want a map at the top level, have a list", "hello\n": "want a map at the top level, have text",
	} {
		if got := refused(t, src); !strings.HasPrefix(got, "buildspec.yml:1:1: "+want) {
			t.Errorf("%q: got %s", src, got)
		}
	}
}

// In the wild: 7.
func TestWild07Version(t *testing.T) {
	for _, v := range []string{"0.2", "'0.2'", `"0.2"`} {
		if spec, _ := parse(t, "version: "+v+"\nphases:\n"); spec.Version != "0.2" {
			t.Errorf("%s: got %q", v, spec.Version)
		}
	}
	for _, v := range []string{"1.0", "0.20", "2", "latest", ""} {
		want := "invalid buildspec `version` specified: " + v + ", see documentation"
		if got := refused(t, "version: "+v+"\nphases:\n"); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", v, got, want)
		}
	}
	if got := refused(t, "phases:\n"); !strings.HasPrefix(got, "buildspec.yml:1:1: invalid buildspec `version` specified: ,") {
		t.Error(got)
	}
	spec, problems := Parse("b", []byte("phases:\n"), Options{Mode: Lenient})
	if spec == nil || spec.Version != "0.2" || len(problems.Warnings()) == 0 {
		t.Errorf("lenient: got %v, %v", spec, problems)
	}
}

// In the wild: 8.
func TestWild08PhasesInFixedOrder(t *testing.T) {
	spec, _ := parse(t, "version: 0.2\nphases:\n  post_build: {commands: [d]}\n  build: {commands: [c]}\n  install: {commands: [a]}\n  pre_build: {commands: [b]}\n")
	var got []string
	for _, ph := range spec.Phases {
		got = append(got, ph.Name)
	}
	if d := cmp.Diff(PhaseNames, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for _, src := range []string{
		"version: 0.2\nphases:\n  pre_build: {commands: [b]}\n",
		"version: 0.2\nphases:\n  post_build: {commands: [b]}\n",
		"version: 0.2\nartifacts:\n  files: '**/*'\n",
		"version: 0.2\nbatch:\n  build-list:\n    - {identifier: a, buildspec: a.yml}\n",
	} {
		parse(t, src)
	}
}

// In the wild: 9.
func TestWild09EmptyBlocksAreNoOps(t *testing.T) {
	for _, src := range []string{
		"version: 0.2\nphases:\n  install:\n    runtime-versions:\n      nodejs: 18\n",
		"version: 0.2\nphases:\n  build:\n    commands:\n",
		"version: 0.2\nphases:\n  build:\n",
		build + "      -\n      - x\n      - ~\n",
		"version: 0.2\nenv:\nphases:\nartifacts:\ncache:\nreports:\nbatch:\nproxy:\n",
		"version: 0.2\nenv:\n  variables:\n  parameter-store:\n  secrets-manager:\n  exported-variables:\nphases:\n",
		"version: 0.2\nphases: {}\nenv: {}\n",
	} {
		parse(t, src)
	}
	spec, problems := parse(t, build+"      -\n      - x\n      - \"\"\n")
	if d := cmp.Diff([]string{"x"}, texts(spec.Phase(Build).Commands)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if !warned(problems, specfile.CodeEmpty, 5) || !warned(problems, specfile.CodeEmpty, 7) {
		t.Errorf("no warning about the empty items: %v", problems)
	}
}

// In the wild: 10.
func TestWild10SingleTextForList(t *testing.T) {
	for src, want := range map[string]string{"make all": "make all", "|\n      a\n      b\n": "a\nb\n", "'x: y'": "x: y"} {
		spec, _ := parse(t, "version: 0.2\nphases:\n  build:\n    commands: "+src+"\nartifacts:\n  files: out.zip\n")
		if d := cmp.Diff([]string{want}, texts(spec.Phase(Build).Commands)); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if d := cmp.Diff([]string{"out.zip"}, spec.Artifacts.Files); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
}

// Commands without dashes are one text to YAML, and the message tells it.
func TestCommandsWithoutDashesAreSaid(t *testing.T) {
	for _, src := range []string{"\n      npm ci\n      npm test\n", " npm ci\n      npm test\n"} {
		spec, problems := parse(t, "version: 0.2\nphases:\n  build:\n    commands:"+src)
		if d := cmp.Diff([]string{"npm ci npm test"}, texts(spec.Phase(Build).Commands)); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if len(problems) != 1 || !strings.Contains(problems[0].Text(), `the lines are one command, joined with blanks (put "- " before each command`) {
			t.Errorf("problems: %v", problems)
		}
	}
}

// In the wild: 11.
func TestWild11CommandThatIsAMap(t *testing.T) {
	got := refused(t, build+"      - make\n      - echo \"Built: $X\"\n")
	want := "buildspec.yml:6:9: Expected Commands[1] to be of string type: found subkeys instead at line 6, value of the key tag on line 5 might be empty" +
		` (phases.build.commands[1]: a command with a colon and a blank in it needs quotes: - 'echo "Built: $X"')`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = refused(t, `{"version": 0.2, "phases": {"build": {"commands": ["a", ["b"]]}}}`)
	want = "buildspec.yml:1:57: Expected Commands[1] to be of string type: found subkeys instead at line 1, value of the key tag on line 1 might be empty" +
		" (phases.build.commands[1]: put the whole command in quotes)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = refused(t, build+"      - [ -f x ]\n")
	if !strings.Contains(got, "Expected Commands[0] to be of string type") || !strings.Contains(got, "- '[ -f x ]'") {
		t.Error(got)
	}
}

// In the wild: 12.
func TestWild12Lint(t *testing.T) {
	spec, problems := parse(t, build+`      - echo "issue #5"
      - docker run
        -it x
      - docker run \
        -it y
      - 'quoted # stays'
      - |
        block # stays
      - npm ci  # install
      - last
`)
	want := []string{`echo "issue`, "docker run -it x", `docker run \ -it y`, "quoted # stays", "block # stays\n", "npm ci", "last"}
	if d := cmp.Diff(want, texts(spec.Phase(Build).Commands)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Code+" "+strings.SplitN(p.String(), ":", 2)[0])
	}
	if d := cmp.Diff([]string{CodeComment + " 5", CodeJoined + " 6", CodeEscaped + " 8"}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// A comment that a shell would not have run either is none of our business.
func TestCommentBehindACommandIsQuiet(t *testing.T) {
	for item, loud := range map[string]bool{
		`npm ci # clean`:                        false,
		`URL=$(sed 's/#/%23/g') # don't cut it`: false,
		`echo "it's" 'a "b"' \" # x`:            false,
		`echo "issue #5"`:                       true,
		"git commit -m 'fix #12, see the log'":  true,
		"echo `date +%s #x`":                    true,
		`awk '/x/ { print } # all' f`:           true,
	} {
		_, problems := parse(t, build+"      - "+item+"\n")
		if got := warned(problems, CodeComment, 5); got != loud || len(problems) > 1 {
			t.Errorf("%s: got %v", item, problems)
		}
	}
}

func TestPhaseWithFinallyOnlyIsQuiet(t *testing.T) {
	spec, problems := parse(t, "version: 0.2\nphases:\n  post_build:\n    finally: [x]\n")
	if d := cmp.Diff([]string{"x"}, texts(spec.Phase(PostBuild).Finally)); d != "" || len(problems) != 0 {
		t.Errorf("(-want +got)\n%s\n%v", d, problems)
	}
	if _, problems := parse(t, "version: 0.2\nphases:\n  build:\n    run-as: x\n"); !warned(problems, specfile.CodeMissingKey, 3) {
		t.Errorf("nothing to run: got %v", problems)
	}
}

func TestTagInCommandIsLint(t *testing.T) {
	_, problems := parse(t, build+"      - ! grep -q x y\n      - a\n        - b\n")
	if !warned(problems, CodeTag, 5) || !warned(problems, CodeJoined, 6) {
		t.Errorf("got %v", problems)
	}
}

func TestCommandsWithoutKey(t *testing.T) {
	for _, src := range []string{"  - make", "    make", "    - commands: [make]"} {
		if got := refused(t, "version: 0.2\nphases:\n  build:\n"+src+"\n"); !strings.Contains(got, "phases.build: want a map") || !strings.Contains(got, "put the commands under phases.build.commands") {
			t.Error(got)
		}
	}
}

// In the wild: 13.
func TestWild13UnknownThings(t *testing.T) {
	phases := []struct{ src, want string }{
		{"artifacts: {files: x}", "Invalid buildspec phase name: artifacts. Expecting: build,install,post_build,pre_build (artifacts belongs at the top level"},
		{"pre-build: {commands: [x]}", "Invalid buildspec phase name: pre-build. Expecting: build,install,post_build,pre_build (did you mean pre_build?)"},
		{"BUILD: {commands: [x]}", "Invalid buildspec phase name: BUILD. Expecting: build,install,post_build,pre_build (did you mean build?)"},
		{"test: {commands: [x]}", "Invalid buildspec phase name: test. Expecting: build,install,post_build,pre_build"},
	}
	for _, tt := range phases {
		src := build + "      - x\n  " + tt.src + "\n"
		if got := refused(t, src); !strings.HasPrefix(got, "buildspec.yml:6:3: "+tt.want) {
			t.Errorf("got %s, want %s", got, tt.want)
		}
		if spec, problems := Parse("b", []byte(src), Options{Mode: Lenient}); spec == nil || len(problems) == 0 {
			t.Errorf("%s: lenient mode refuses it: %v", tt.src, problems)
		}
	}
	warnings := []struct{ src, want string }{
		{build + "      - x\n    command: y\n", "6:5: warning: unknown key phases.build.command, it has no effect (did you mean commands?)"},
		{build + "      - x\n    post_build: {commands: [x]}\n", "6:5: warning: unknown key phases.build.post_build, it has no effect (a phase belongs under phases, not in another phase)"},
		{build + "      - x\nbuild: {commands: [x]}\n", "6:1: warning: unknown key build, it has no effect (a phase belongs under phases)"},
		{build + "      - x\nartefacts: {files: x}\n", "6:1: warning: unknown key artefacts, it has no effect (did you mean artifacts?)"},
		{build + "      - x\n\u00a0\u00a0env: {}\n", "6:1: warning: unknown key \u00a0\u00a0env, it has no effect (there is a no-break space in it, which is no indentation; use blanks)"},
		{build + "      - x\nenv: {image: x}\n", "6:7: warning: unknown key env.image"},
		{build + "      - x\nartifacts: {files: x, reports: {}}\n", "6:23: warning: unknown key artifacts.reports (reports belongs at the top level)"},
		{build + "      - x\nbatch: {fail-fast: yes, build-list: [{identifier: a}]}\n", "6:9: warning: unknown key batch.fail-fast (did you mean fast-fail?)"},
		{build + "      - x\nartifacts: {type: zip, files: x}\n", "6:13: warning: artifacts.type has no effect in version 0.2"},
		{"version: 0.2\nbuild: {commands: [x]}\n", "1:1: warning: phases: missing, the build runs no command"},
	}
	for _, tt := range warnings {
		_, problems := parse(t, tt.src)
		found := false
		for _, p := range problems {
			found = found || p.String() == tt.want
		}
		if !found {
			t.Errorf("got %v, want %s", problems, tt.want)
		}
	}
	if _, problems := Parse("b", []byte(warnings[0].src), Options{Mode: Strict}); !problems.HasErrors() {
		t.Error("strict mode accepts an unknown key")
	}
	if got := refused(t, "version: 0.2\n"); !strings.Contains(got, "phases: missing") {
		t.Error(got)
	}
}

// In the wild: 14.
func TestWild14FinallyOnFailureRunAs(t *testing.T) {
	spec, _ := parse(t, `version: 0.2
run-as: ci
phases:
  build:
    run-as: root
    on-failure: ABORT
    commands: [a]
    finally: [b, c]
`)
	ph := spec.Phase(Build)
	if spec.RunAs != "ci" || ph.RunAs != "root" || ph.OnFailure.Action != Abort {
		t.Errorf("got %+v", ph)
	}
	if d := cmp.Diff([]Command{{"b", 8, 8}, {"c", 8, 8}}, ph.Finally); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// In the wild: 15.
func TestWild15RuntimeVersions(t *testing.T) {
	spec, _ := parse(t, "version: 0.2\nphases:\n  install:\n    runtime-versions:\n      nodejs: 18\n      java: corretto17\n      docker: 19\n      golang: 1.20\n      php: 8.x\n      ruby: latest\n      dotnet: \"$DOTNET\"\n")
	var got []string
	for _, r := range spec.Phase(Install).Runtimes {
		got = append(got, r.Name+"="+r.Version)
	}
	want := []string{"nodejs=18", "java=corretto17", "docker=19", "golang=1.20", "php=8.x", "ruby=latest", "dotnet=$DOTNET"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	_, problems := parse(t, build+"      - x\n    runtime-versions: {nodejs: 18}\n")
	if !warned(problems, specfile.CodeUnknownKey, 6) {
		t.Errorf("runtime-versions outside install: %v", problems)
	}
}

// In the wild: 16, 17, 18.
func TestWild16To18ItemsStayWhole(t *testing.T) {
	script := "if [ -f x ]; then\n  cat <<EOF\n  a: b # c\nEOF\nfi\n"
	spec, problems := parse(t, build+"      - X=1\n      - |\n\n        "+strings.ReplaceAll(strings.TrimSuffix(script, "\n"), "\n", "\n        ")+"\n      - cd sub\n      - exit 0\n      - set -euo pipefail\n")
	want := []Command{{"X=1", 5, 5}, {"\n" + script, 6, 8}, {"cd sub", 13, 13}, {"exit 0", 14, 14}, {"set -euo pipefail", 15, 15}}
	if d := cmp.Diff(want, spec.Phase(Build).Commands); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if len(problems) != 0 {
		t.Errorf("problems: %v", problems)
	}
}

// In the wild: 19.
func TestWild19Shell(t *testing.T) {
	for _, s := range []string{"bash", "/bin/bash", "sh", "/bin/sh"} {
		if spec, problems := parse(t, build+"      - x\nenv:\n  shell: "+s+"\n"); spec.Env.Shell != s || len(problems) > 0 {
			t.Errorf("%s: got %q, %v", s, spec.Env.Shell, problems)
		}
	}
	for _, s := range []string{"powershell.exe", "cmd.exe", "pwsh", "powershell"} {
		spec, problems := parse(t, build+"      - x\nenv:\n  shell: "+s+"\n")
		if spec.Env.Shell != s || len(problems) != 1 || !strings.Contains(problems[0].String(), "7:10: warning: env.shell: "+s+" is a shell of Windows images") {
			t.Errorf("%s: got %q, %v", s, spec.Env.Shell, problems)
		}
	}
	if got := refused(t, build+"      - x\nenv:\n  shell: fish\n"); !strings.Contains(got, `7:10: env.shell: want bash`) {
		t.Error(got)
	}
}

// In the wild: 20.
func TestWild20BackgroundCommandIsOneItem(t *testing.T) {
	const dockerd = "nohup dockerd --host=unix:///var/run/docker.sock --host=tcp://127.0.0.1:2375 --storage-driver=overlay2 &"
	spec, problems := parse(t, build+"      - "+dockerd+"\n      - timeout 15 sh -c \"until docker info; do echo .; sleep 1; done\"\n")
	if got := spec.Phase(Build).Commands[0].Text; got != dockerd || len(problems) != 0 {
		t.Errorf("got %q, %v", got, problems)
	}
}

// In the wild: 21, 22.
func TestWild21To22ValuesAreLiteralAndSecretsParse(t *testing.T) {
	spec, _ := parse(t, `version: 0.2
env:
  variables:
    TAG: "$CODEBUILD_RESOLVED_SOURCE_VERSION"
    PATH: $PATH:/x
  parameter-store:
    DB: /app/db
  secrets-manager:
    A: name
    B: name:key
    C: arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-AbCdEf:key
    D: s:::verid
phases:
`)
	if got := spec.Env.Variables[1].Value; got != "$PATH:/x" {
		t.Errorf("got %q", got)
	}
	var got []SecretRef
	for _, s := range spec.Env.Secrets {
		got = append(got, s.Secret)
	}
	want := []SecretRef{{ID: "name"}, {ID: "name", Key: "key"}, {ID: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-AbCdEf", Key: "key"}, {ID: "s", VersionID: "verid"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
