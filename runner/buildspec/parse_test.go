package buildspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestC04AllMistakesAtOnce(t *testing.T) {
	got := refused(t, `version: 1.0
env:
  variables:
    CODEBUILD_SRC_DIR: x
    A: {b: c}
  parameter-store:
    A: /a
phases:
  build:
    on-failure: STOP
    commands:
      - echo "Hello: world"
  deploy:
    commands: [x]
`)
	want := []string{
		"buildspec.yml:1:10: invalid buildspec `version` specified: 1.0, see documentation (want version: 0.2)",
		"buildspec.yml:4:5: env.variables.CODEBUILD_SRC_DIR: names that start with CODEBUILD_ are reserved (use another name)",
		"buildspec.yml:5:8: env.variables.A: want text, have a map",
		"buildspec.yml:7:5: env.parameter-store.A: A is set twice, in lines 5 and 7",
		`buildspec.yml:10:17: phases.build.on-failure: want ABORT, CONTINUE, RETRY, RETRY-count, RETRY-regex or RETRY-count-regex, have "STOP"`,
		`buildspec.yml:12:9: Expected Commands[0] to be of string type: found subkeys instead at line 12, value of the key tag on line 11 might be empty (phases.build.commands[0]: a command with a colon and a blank in it needs quotes: - 'echo "Hello: world"')`,
		"buildspec.yml:13:3: Invalid buildspec phase name: deploy. Expecting: build,install,post_build,pre_build",
	}
	if d := cmp.Diff(want, strings.Split(got, "\n")); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestC41OnFailure(t *testing.T) {
	tests := []struct {
		text    string
		action  FailureAction
		retries int
		pattern string
	}{
		{"", Unset, 0, ""},
		{"ABORT", Abort, 0, ""},
		{"continue", Continue, 0, ""},
		{"RETRY", Retry, 3, ".*"},
		{"RETRY-4", Retry, 4, ".*"},
		{"RETRY-0", Retry, 0, ".*"},
		{"RETRY-100", Retry, 100, ".*"},
		{"Retry-.*Unable.*", Retry, 3, ".*Unable.*"},
		{"RETRY-8-invalid+", Retry, 8, "invalid+"},
		{"RETRY-5xx", Retry, 3, "5xx"},
		{"retry-2-a-b", Retry, 2, "a-b"},
	}
	for _, tt := range tests {
		got, err := ParseOnFailure(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		pattern := ""
		if got.Pattern != nil {
			pattern = got.Pattern.String()
		}
		if got.Action != tt.action || got.Retries != tt.retries || pattern != tt.pattern {
			t.Errorf("%s: got %v %d %q", tt.text, got.Action, got.Retries, pattern)
		}
	}
	for _, text := range []string{"RETRY-101", "RETRY-", "RETRY-[", "RETRY-99999999999999999999", "STOP", "RETRYX"} {
		if got, err := ParseOnFailure(text); err == nil {
			t.Errorf("%s: accepted as %+v", text, got)
		}
	}
}

func TestC50PythonVersionIsText(t *testing.T) {
	spec, _ := parse(t, "version: 0.2\nphases:\n  install:\n    runtime-versions: {python: 3.10}\n")
	if got := spec.Phase(Install).Runtimes[0].Version; got != "3.10" {
		t.Errorf("got %q", got)
	}
}

func TestVersion01(t *testing.T) {
	spec, problems := parse(t, "version: 0.1\nenvironment_variables:\n  plaintext:\n    A: b\nphases:\n  build:\n    commands: [x]\nartifacts:\n  type: zip\n  files: [y]\n")
	if spec.Version != "0.1" || len(spec.Env.Variables) != 1 {
		t.Errorf("got %+v", spec)
	}
	if len(problems) != 1 || problems[0].Code != CodeDeprecated {
		t.Errorf("want one deprecation warning, have %v", problems)
	}
	for _, src := range []string{"version: 0.1\nenv:\n  variables: {A: b}\nphases:\n", "version: 0.2\nenvironment_variables:\n  plaintext: {A: b}\nphases:\n"} {
		spec, problems := parse(t, src)
		if len(spec.Env.Variables) != 1 || !warned(problems, CodeDeprecated, 2) {
			t.Errorf("%q: got %+v, %v", src, spec.Env, problems)
		}
	}
}

func TestSecretRefs(t *testing.T) {
	for _, text := range []string{"", ":key", "a:b:c:d", "a:b:c:d:e", "arn:aws:secretsmanager:x", "arn:aws:secretsmanager:r:1:secret:"} {
		if got, err := ParseSecretRef(text); err == nil {
			t.Errorf("%q: accepted as %+v", text, got)
		}
	}
	got, err := ParseSecretRef("arn:aws:secretsmanager:r:1:secret:n-Ab:k:AWSPREVIOUS:")
	want := SecretRef{ID: "arn:aws:secretsmanager:r:1:secret:n-Ab", Key: "k", Stage: "AWSPREVIOUS"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestExportedVariables(t *testing.T) {
	spec, _ := parse(t, "version: 0.2\nenv:\n  exported-variables: [A, CODEBUILD_BUILD_ID]\nphases:\n")
	if d := cmp.Diff([]string{"A", "CODEBUILD_BUILD_ID"}, spec.Env.Exported); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestC28ExportOfASecretOrAWSNameIsAWarning(t *testing.T) {
	const src = "version: 0.2\nenv:\n  exported-variables: [AWS_FOO, S, P, A]\n  secrets-manager: {S: s}\n  parameter-store: {P: p}\nphases:\n"
	spec, problems := parse(t, src)
	if d := cmp.Diff([]string{"A"}, spec.Env.Exported); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Code+" "+p.String())
	}
	want := []string{
		CodeExport + " 3:24: warning: env.exported-variables: AWS_FOO is not exported, its name starts with AWS_ (copy it to a variable of another name)",
		CodeExport + " 3:33: warning: env.exported-variables: S is not exported, its value comes from secrets-manager",
		CodeExport + " 3:36: warning: env.exported-variables: P is not exported, its value comes from parameter-store",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if _, problems := Parse("b", []byte(src), Options{Mode: Strict}); len(problems.Errors()) != 3 {
		t.Errorf("strict: got %v", problems)
	}
}

func TestNULIsRefused(t *testing.T) {
	if got := refused(t, "version: 0.2\nenv: {variables: {A: \"\\0\"}}\nphases: {build: {commands: [\"a\\0\"]}}\n"); strings.Count(got, "NUL") != 2 {
		t.Error(got)
	}
}

// Attacks: 38.
func TestReservedNames(t *testing.T) {
	parse(t, "version: 0.2\nenv: {variables: {CODEBUILD_CONFIG_AUTO_DISCOVER: false}}\nphases:\n")
	for _, block := range []string{"variables", "parameter-store", "secrets-manager"} {
		src := "version: 0.2\nenv: {" + block + ": {CODEBUILD_X: y}}\nphases:\n"
		if got := refused(t, src); !strings.Contains(got, "reserved") {
			t.Errorf("%s: got %s", block, got)
		}
	}
}

func TestLimits(t *testing.T) {
	if got := refused(t, build+strings.Repeat("      - x\n", MaxCommands+1)); !strings.Contains(got, "more than 1000 commands") {
		t.Error(got)
	}
	parse(t, build+strings.Repeat("      - x\n", MaxCommands))
	if got := refused(t, build+"      - "+strings.Repeat("x", MaxCommandBytes+1)+"\n"); !strings.Contains(got, "want at most 65536") {
		t.Error(got)
	}
}

func TestParseLocation(t *testing.T) {
	tests := []struct {
		text string
		want Location
	}{
		{"", Location{Path: "buildspec.yml"}},
		{"ci/./build.yml", Location{Path: "ci/build.yml"}},
		{"version: 0.2", Location{Inline: "version: 0.2"}},
		{" {\"version\": 0.2}", Location{Inline: " {\"version\": 0.2}"}},
		{"# x\nphases:\n", Location{Inline: "# x\nphases:\n"}},
		{"arn:aws:s3:::bucket/key", Location{URL: "arn:aws:s3:::bucket/key"}},
		{"s3://bucket/key", Location{URL: "s3://bucket/key"}},
	}
	for _, tt := range tests {
		if got, err := ParseLocation(tt.text); err != nil || got != tt.want {
			t.Errorf("%q: got %+v, %v", tt.text, got, err)
		}
	}
	for _, text := range []string{"/etc/passwd", "../x.yml", "a/../../x", `..\x`, ".", "a/.."} {
		if got, err := ParseLocation(text); err == nil {
			t.Errorf("%q: accepted as %+v", text, got)
		}
	}
}

// Typical slips are answered with what to write in their place.
func TestSlipsAreAnsweredWithTheFix(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"commands beside the phase's keys", "version: 0.2\nphases:\n  build:\n    - make\n", "4:5: phases.build: want a map, have a list (put the commands under phases.build.commands)"},
		{"a list of phases", "version: 0.2\nphases:\n  - build:\n      commands: [make]\n", "3:3: phases: want a map, have a list (drop the dashes)"},
		{"a list of variables", "version: 0.2\nenv:\n  variables:\n    - A: b\nphases:\n", "4:5: env.variables: want a map, have a list (drop the dashes)"},
		{"shell assignments as variables", "version: 0.2\nenv:\n  variables:\n    A=b\nphases:\n", "4:5: env.variables: want a map, have text (write NAME: value, not NAME=value)"},
		{"a list of artifacts", build + "      - x\nartifacts:\n  - '**/*'\n", "7:3: artifacts: want a map, have a list (put the files under artifacts.files)"},
		{"a list of cached paths", build + "      - x\ncache:\n  - deps/**\n", "7:3: cache: want a map, have a list (put the paths under cache.paths)"},
		{"files of a secondary artifact", build + "      - x\nartifacts:\n  files: a\n  secondary-artifacts:\n    one: [b]\n", "(put the files under artifacts.secondary-artifacts.one.files)"},
		{"no blank behind a dash", build + "      - 'a'\n      -b c\n      - d\n", "(line 6: a list's dash needs a blank behind it)"},
		{"a tab", "version: 0.2\nphases:\n\tbuild:\n", "a tab can't indent YAML, use blanks"},
		{"a capital letter", "version: 0.2\nphases:\n  Build: {commands: [x]}\n", "did you mean build?"},
		{"a colon", build + "      - echo a: b\n", "needs quotes: - 'echo a: b'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := refused(t, tt.src); !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s in it", got, tt.want)
			}
		})
	}
}
