package buildspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// In the wild: 23, 24.
func TestWild23To24Artifacts(t *testing.T) {
	spec, _ := parse(t, `version: 0.2
phases:
artifacts:
  files:
    - imagedefinitions.json
    - '**/*'
    - dir/**
    - $OUT/x
    - /abs/file
  base-directory: ./$DIR
  name: app-$(date +%Y-%m-%d)
  exclude-paths: "**/.*"
  enable-symlinks: yes
  s3-prefix: p
  secondary-artifacts:
    one:
      files: [a]
    two_2:
      files: b
      base-directory: sub
      discard-paths: yes
`)
	want := &Artifacts{
		Files: []string{"imagedefinitions.json", "**/*", "dir/**", "$OUT/x", "/abs/file"}, BaseDirectory: "./$DIR", Name: "app-$(date +%Y-%m-%d)",
		ExcludePaths: []string{"**/.*"}, EnableSymlinks: true, S3Prefix: "p", Line: 3,
		Secondary: []Artifacts{{ID: "one", Files: []string{"a"}, Line: 16}, {ID: "two_2", Files: []string{"b"}, BaseDirectory: "sub", DiscardPaths: true, Line: 18}},
	}
	if d := cmp.Diff(want, spec.Artifacts); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	_, problems := parse(t, "version: 0.2\nphases:\nartifacts:\n  secondary-artifacts:\n    a: {files: x}\n")
	if !warned(problems, CodeNoFiles, 3) {
		t.Errorf("secondary without primary files (E11): %v", problems)
	}
	if got := refused(t, "version: 0.2\nphases:\nartifacts:\n  files: x\n  secondary-artifacts:\n    a-b: {files: x}\n"); !strings.Contains(got, "6:5: artifacts.secondary-artifacts.a-b: want letters") {
		t.Error(got)
	}
}

// In the wild: 25.
func TestWild25Cache(t *testing.T) {
	spec, _ := parse(t, "version: 0.2\nphases:\ncache:\n  key: npm-$(codebuild-hash-files package-lock.json)\n  fallback-keys: [npm-]\n  action: restore\n  paths:\n    - /root/.m2/**/*\n    - ~/.gradle/caches/**\n    - node_modules/**/*\n")
	want := &Cache{Key: "npm-$(codebuild-hash-files package-lock.json)", FallbackKeys: []string{"npm-"}, Action: Restore, Paths: []string{"/root/.m2/**/*", "~/.gradle/caches/**", "node_modules/**/*"}, Line: 3}
	if d := cmp.Diff(want, spec.Cache); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for src, want := range map[string]string{
		"cache: {paths: a, action: never}":                    `want restore or save, have "never"`,
		"cache: {key: k, fallback-keys: [a, b, c, d, e, f]}":  "want at most 5, have 6",
		"reports: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}}": "want at most 5 report groups, have 6",
	} {
		if got := refused(t, "version: 0.2\nphases:\n"+src+"\n"); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// In the wild: 26.
func TestWild26Reports(t *testing.T) {
	spec, _ := parse(t, "version: 0.2\nphases:\nreports:\n  unit:\n    files: '**/*'\n    base-directory: out\n  arn:aws:codebuild:eu-west-1:123456789012:report-group/x:\n    files: [c.xml]\n    file-format: CoberturaXml\n    discard-paths: yes\n  $GROUP:\n    files: [j.xml]\n    file-format: JUNITXML\n    fail-on: [failed, coverage<80]\n")
	want := []Report{
		{Group: "unit", Files: []string{"**/*"}, Format: JUnitXML, BaseDirectory: "out", Line: 4},
		{Group: "arn:aws:codebuild:eu-west-1:123456789012:report-group/x", Files: []string{"c.xml"}, Format: CoberturaXML, DiscardPaths: true, Line: 7},
		{Group: "$GROUP", Files: []string{"j.xml"}, Format: JUnitXML, FailOn: FailOn{Failed: true, CoverageBelow: 80}, Line: 11},
	}
	if d := cmp.Diff(want, spec.Reports); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got := refused(t, "version: 0.2\nphases:\nreports: {a: {files: x, file-format: JUNIT}}\n"); !strings.Contains(got, "3:38: reports.a.file-format: want one of JUNITXML, ") || !strings.Contains(got, "did you mean JUNITXML?") {
		t.Error(got)
	}
}

// In the wild: 28.
func TestWild28PlaintextSecret(t *testing.T) {
	token := "gh" + "p_" + strings.Repeat("a1B2", 9)
	spec, problems := parse(t, "version: 0.2\nphases:\nenv:\n  variables:\n    X: "+token+"\n    NPM_TOKEN: 3f9a8b7c6d5e4f3a2b1c\n    SECRET_NAME: my-secret-2024-production\n    TOKEN: $OTHER\n    IMAGE: nginx\n")
	var got []string
	for _, v := range spec.Env.Variables {
		if v.Sensitive {
			got = append(got, v.Name)
		}
	}
	if d := cmp.Diff([]string{"X", "NPM_TOKEN"}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if !warned(problems, CodeSecret, 5) || !warned(problems, CodeSecret, 6) {
		t.Errorf("no warning: %v", problems)
	}
	for _, p := range problems {
		if strings.Contains(p.String(), token) {
			t.Errorf("the warning shows the secret: %v", p)
		}
	}
}
