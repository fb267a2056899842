package buildspec

import (
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", build + "      - echo \"a: b\"\n", build + "      - x # y\n      - a\n        b \\\n        c\n      - |\n\n        z\n",
		"version: 0.1\nenvironment_variables: {plaintext: {A: 1}}\nphases: {install: {runtime-versions: {a: 3.10}, on-failure: RETRY-3-x}}\n",
		"version: 0.2\nbatch:\n  build-graph: [{identifier: a, depend-on: [b]}, {identifier: b, depend-on: a}]\n",
		"version: 0.2\nbatch:\n  build-matrix: {static: {env: {variables: {A: b}}}, dynamic: {buildspec: [a, b], env: {variables: {A: [1, 2]}}}}\n",
		"version: 0.2\nenv: {secrets-manager: {A: 'a:b:c'}, exported-variables: [A]}\nreports: {x: {files: y, fail-on: coverage<80}}\ncache: {key: a, fallback-keys: [b]}\nartifacts: {files: a, secondary-artifacts: {b: {files: c}}}\nphases:\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, mode := range []Mode{Standard, Strict, Lenient} {
			spec, problems := Parse("buildspec.yml", data, Options{Mode: mode})
			if (spec == nil) != problems.HasErrors() {
				t.Errorf("spec %v with problems %v", spec, problems)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.Message == "" || p.Code == "" {
					t.Errorf("bad problem %+v", p)
				}
			}
			if spec != nil && mode == Strict {
				if _, again := Parse("buildspec.yml", data, Options{}); again.HasErrors() {
					t.Errorf("strict mode accepts what standard mode refuses: %v", again)
				}
			}
		}
	})
}

func FuzzParseOnFailure(f *testing.F) {
	for _, s := range []string{"", "ABORT", "retry-3-a+", "RETRY-5xx", "RETRY-101", "RETRY-["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseOnFailure(text)
		if err == nil && (got.Action == Retry) != (got.Pattern != nil) || got.Retries < 0 || got.Retries > maxRetries {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	})
}

func FuzzParseSecretRef(f *testing.F) {
	for _, s := range []string{"a", "a:b", "a:::d", "arn:aws:secretsmanager:r:1:secret:n:k:s", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ParseSecretRef(text)
		if err != nil {
			return
		}
		back := strings.Join([]string{ref.ID, ref.Key, ref.Stage, ref.VersionID}, ":")
		if strings.TrimRight(back, ":") != strings.TrimRight(text, ":") {
			t.Errorf("%q: got %+v", text, ref)
		}
	})
}

func FuzzParseLocation(f *testing.F) {
	for _, s := range []string{"", "a/b.yml", "../x", "version: 0.2", "arn:x", "/x", "a\\..\\..\\b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLocation(text)
		if err != nil {
			return
		}
		if l.Path != "" && (strings.HasPrefix(l.Path, "/") || l.Path == ".." || strings.HasPrefix(l.Path, "../")) {
			t.Errorf("%q leaves the source: %q", text, l.Path)
		}
	})
}
