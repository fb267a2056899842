package secrets_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/slipway-ci/slipway/store/secrets"
)

// seal writes a file of values and the identity that opens it.
func seal(t *testing.T, text string) (path, identity string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path, identity = filepath.Join(t.TempDir(), "secrets.age"), filepath.Join(t.TempDir(), "key")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := age.Encrypt(f, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write([]byte(text))
	if err := errors.Join(err, w.Close(), f.Close(), os.WriteFile(identity, []byte(id.String()+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path, identity
}

func TestSources(t *testing.T) {
	path, identity := seal(t, `{"/app/p": "one", "db": {"user": "u", "port": 5432}}`)
	f, err := secrets.OpenFile(path, identity)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SW_APP_DB_PASSWORD": "two", "SW_APP_P": "hidden"}
	s := secrets.Sources{f, secrets.Environment{Prefix: "SW_", Getenv: func(name string) string { return env[name] }}}
	for _, tt := range []struct{ name, key, want string }{
		{"/app/p", "", "one"}, {"/app/db-password", "", "two"}, {"db", "user", "u"}, {"db", "port", "5432"},
		{"db", "none", ""}, {"none", "", ""}, {"/app/p", "user", ""},
	} {
		got, err := s.Lookup(t.Context(), secrets.Ref{Name: tt.name})
		if err == nil {
			got, err = secrets.Member(got, tt.key)
		}
		if got != tt.want || (tt.want == "") != errors.Is(err, secrets.ErrNotFound) {
			t.Errorf("%s:%s: got %q, %v, want %q", tt.name, tt.key, got, err, tt.want)
		}
	}
}

// Only the present version of a value is in a file or a variable.
func TestVersionsOfPlainStores(t *testing.T) {
	v := secrets.Values{"db": "now"}
	for ref, want := range map[secrets.Ref]string{
		{Name: "db", Stage: "AWSCURRENT"}: "now", {Name: "db", Stage: "AWSPREVIOUS"}: "", {Name: "db", VersionID: "1"}: "",
	} {
		if got, err := v.Lookup(t.Context(), ref); got != want || (want == "") != errors.Is(err, secrets.ErrNotFound) {
			t.Errorf("%+v: got %q, %v", ref, got, err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	path, _ := seal(t, "A=b")
	_, other := seal(t, "A=b")
	if _, err := secrets.OpenFile(path, other); err == nil {
		t.Error("opened with another's identity")
	}
	if _, err := secrets.OpenFile(path, path); err == nil {
		t.Error("opened with no identity at all")
	}
	for _, text := range []string{"A=1\nhunter22\n", "{\"A\": hunter22"} {
		path, identity := seal(t, text)
		if _, err := secrets.OpenFile(path, identity); err == nil || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("got %v", err)
		}
	}
}

func TestLines(t *testing.T) {
	v, err := secrets.ParseValues([]byte("# comment\n\nA=x=y z\r\n/app/b = 1\n"))
	if err != nil || len(v) != 2 || v["A"] != "x=y z" || v["/app/b"] != " 1" {
		t.Errorf("got %q, %v", v, err)
	}
}

func FuzzParseValues(f *testing.F) {
	f.Add([]byte("A=b"))
	f.Add([]byte(`{"a": {"b": 1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := secrets.ParseValues(data); (v == nil) == (err == nil) {
			t.Errorf("got %v and %v", v, err)
		}
	})
}
