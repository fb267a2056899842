package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestString(t *testing.T) {
	token := "gh" + "s_" + strings.Repeat("aB3", 12)
	long := "gh" + "s_1_" + "eyJ" + strings.Repeat("hbGciOi-JSUzI1_NiJ9.", 30) // forges reference, case 41
	tests := []struct {
		name    string
		secrets []string
		in      string
		want    string
	}{
		{"nothing to mask", nil, "hello", "hello"},
		{"once", []string{"hunter22"}, "a hunter22 b", "a *** b"},
		{"everywhere", []string{"hunter22"}, "hunter22hunter22,hunter22", "******,***"},
		{"short ones stay", []string{"abc"}, "abc", "abc"},
		{"four bytes", []string{"abcd"}, "xabcdx", "x***x"},
		{"longest wins", []string{"pass", "password"}, "password passport", "*** ***port"},
		{"overlapping", []string{"abcdef", "defghi"}, "xabcdefghix", "x***x"},
		{"one in another", []string{"abcdefgh", "cdef"}, "abcdefgh", "***"},
		{"lines", []string{"line one\nline two\n\nx\n"}, "got: line two\nline one\n x", "got: ***\n***\n x"},
		{"lines with CR", []string{"line one\r\nline two"}, "line one\nline two", "***\n***"},
		{"token", nil, "x " + token + " y", "x *** y"},
		{"a token of 600 bytes", nil, "x " + long + " y", "x *** y"},
		{"token's word alone", nil, "ghs_short gh_ ghs_", "ghs_short gh_ ghs_"},
		{"token in a URL", nil, "https://x-access-token:" + token + "@github.com", "https://x-access-token:***@github.com"},
		{"surrounding blanks", []string{" hunter22\n"}, "hunter22", "***"},
		{"JSON members", []string{`{"user":"admin1","list":["swordfish"],"n":1}`}, "admin1:swordfish", "***:***"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := New(tt.secrets...).String(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Attacks: 5, 16.
func TestEncodedForms(t *testing.T) {
	secret := "p\"4ss/w+rd & <söme> \\thing?~it's$5"
	m := New(secret)
	quoted, _ := json.Marshal(secret)
	for name, shown := range map[string]string{
		"query":        url.QueryEscape(secret),
		"curl":         "p%224ss%2Fw%2Brd%20%26%20%3Cs%C3%B6me%3E%20%5Cthing%3F~it%27s%245",
		"python":       "p%224ss/w%2Brd%20%26%20%3Cs%C3%B6me%3E%20%5Cthing%3F~it%27s%245",
		"javascript":   "p%224ss%2Fw%2Brd%20%26%20%3Cs%C3%B6me%3E%20%5Cthing%3F~it's%245",
		"hexadecimal":  hex.EncodeToString([]byte(secret)),
		"bash, set -x": `p"4ss/w+rd & <söme> \thing?~it'\''s$5`,
		"dash, set -x": `p"4ss/w+rd & <söme> \thing?~it'"'"'s$5`,
		"export -p":    `p\"4ss/w+rd & <söme> \\thing?~it's\$5`,
		"path":         url.PathEscape(secret),
		"lower case":   percentCode.ReplaceAllStringFunc(url.QueryEscape(secret), strings.ToLower),
		"json":         string(quoted),
		"base64":       base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 bare":  base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64 url":   base64.URLEncoding.EncodeToString([]byte(secret)),
		"echo, base64": base64.StdEncoding.EncodeToString([]byte(secret + "\n")),
	} {
		got := m.String("<" + shown + ">")
		if !strings.Contains(got, Mask) || len(got) > len("<***>")+5 {
			t.Errorf("%s: %q shows as %q", name, shown, got)
		}
	}
	for shift := range 3 {
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			text := e.EncodeToString([]byte(strings.Repeat("u", shift+3) + secret + ":tail"))
			if got := m.String(text); !strings.Contains(got, Mask) || len(got) > 3+8+10 {
				t.Errorf("shift %d: %q shows as %q", shift, text, got)
			}
		}
	}
}

// Attacks: 16.
func TestWrappedBase64(t *testing.T) {
	var secret strings.Builder
	for range 200 {
		secret.WriteByte(byte(33 + rand.IntN(90)))
	}
	whole := base64.StdEncoding.EncodeToString([]byte(secret.String()))
	for _, width := range []int{64, 76} {
		var wrapped []string
		for rest := whole; rest != ""; rest = rest[min(width, len(rest)):] {
			wrapped = append(wrapped, rest[:min(width, len(rest))])
		}
		got := New(secret.String()).String(strings.Join(wrapped, "\n"))
		if want := strings.TrimSuffix(strings.Repeat("***\n", len(wrapped)), "\n"); len(wrapped[len(wrapped)-1]) >= minWrapped && got != want {
			t.Errorf("width %d: got %q", width, got)
		}
	}
}

func TestSkipped(t *testing.T) {
	if d := cmp.Diff([]int{0, 2}, New("abc", "abcd", "x", "").Skipped()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestWriterPassesLinesAtOnce(t *testing.T) {
	var b strings.Builder
	w := New("swordfish", "multi\nline").Writer(&b)
	steps := []struct{ write, want string }{
		{"hello\n", "hello\n"},
		{"word: sword", "hello\nword: "},
		{"fish\n", "hello\nword: ***\n"},
		{"multi\n", "hello\nword: ***\n"},
		{"face\n", "hello\nword: ***\n***\nface\n"},
	}
	for _, s := range steps {
		if _, err := io.WriteString(w, s.write); err != nil {
			t.Fatal(err)
		}
		if b.String() != s.want {
			t.Errorf("after %q: got %q, want %q", s.write, b.String(), s.want)
		}
	}
}

// plainMask is the definition, without speed or streams.
func plainMask(m *Masker, text string) string {
	var b strings.Builder
	masked := 0
	for i := range len(text) {
		n := 0
		for _, patterns := range m.byHead {
			for _, p := range patterns {
				if strings.HasPrefix(text[i:], string(p)) {
					n = max(n, len(p))
				}
			}
		}
		if rest := text[i:]; len(rest) > 4 && isTokenHead([]byte(rest)) {
			if run := tokenRun([]byte(rest[4:])); run >= minTokenRun {
				n = max(n, 4+run)
			}
		}
		switch {
		case n > 0 && i >= masked:
			b.WriteString(Mask)
		case n == 0 && i >= masked:
			b.WriteByte(text[i])
		}
		masked = max(masked, i+n)
	}
	return b.String()
}

func secretText(alphabet string, low, high int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		n := rapid.IntRange(low, high).Draw(t, "length")
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[rapid.IntRange(0, len(alphabet)-1).Draw(t, "byte")]
		}
		return string(b)
	})
}

// Attacks: 16.
func TestSplitsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]string{"ab", "abc\n", "gh_os.", "aYWJj=/+"}).Draw(t, "alphabet")
		secrets := rapid.SliceOfN(secretText(alphabet, 1, 12), 0, 5).Draw(t, "secrets")
		piece := rapid.OneOf(secretText(alphabet, 0, 40), rapid.SampledFrom(append(secrets, "gho_", "-")))
		text := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "text"), "")
		m := New(secrets...)
		whole := m.String(text)
		if want := plainMask(m, text); whole != want {
			t.Fatalf("%q: got %q, want %q", text, whole, want)
		}
		var b bytes.Buffer
		w := m.Writer(&b)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "write")
			io.WriteString(w, "")
			io.WriteString(w, rest[:n])
			rest = rest[n:]
		}
		w.Close()
		if b.String() != whole {
			t.Fatalf("%q: in pieces %q, whole %q", text, b.String(), whole)
		}
		for _, s := range secrets {
			if len(s) >= MinBytes && strings.Contains(whole, s) {
				t.Fatalf("%q shows %q", whole, s)
			}
		}
	})
}

func FuzzWriter(f *testing.F) {
	f.Add("swordfish", "hunter22", "a swordfish, a hunter22", uint8(3))
	f.Add("a\nbcdef\n", "bcde", "bcdefbcdef\n", uint8(1))
	f.Add("gho_", "aaaa", "gho_aaaaaaaaaaaaaaaaaaaaaaaaaaaaagho_", uint8(7))
	f.Fuzz(func(t *testing.T, one, two, text string, size uint8) {
		m := New(one, two)
		whole := m.String(text)
		var b strings.Builder
		w := m.Writer(&b)
		for rest := text; rest != ""; {
			n := min(int(size)+1, len(rest))
			io.WriteString(w, rest[:n])
			rest = rest[n:]
		}
		w.Close()
		if b.String() != whole {
			t.Fatalf("in pieces %q, whole %q", b.String(), whole)
		}
		for _, s := range []string{one, two} {
			if len(s) >= MinBytes && !strings.Contains(s, "*") && strings.Contains(whole, s) {
				t.Fatalf("%q shows %q", whole, s)
			}
		}
	})
}

func TestNestedTokensTakeLinearTime(t *testing.T) {
	text := strings.Repeat("gho_", 1<<20)
	if got := New().String(text); got != Mask {
		t.Errorf("got %d bytes", len(got))
	}
}

func BenchmarkWriter(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		s := make([]byte, n)
		for i := range s {
			s[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[r.IntN(62)]
		}
		return string(s)
	}
	var secrets []string
	for range 20 {
		secrets = append(secrets, word(40))
	}
	var log strings.Builder
	for log.Len() < 64<<10 {
		log.WriteString("2024/01/31 12:00:00 [INFO] downloading https://registry.example.com/" + word(12) + "-1.2.3.tgz\n")
		if r.IntN(50) == 0 {
			log.WriteString("token " + secrets[r.IntN(20)] + "\n")
		}
	}
	chunk := []byte(log.String())[:64<<10]
	m := New(secrets...)
	b.SetBytes(4 * int64(len(chunk)))
	for b.Loop() {
		w := m.Writer(io.Discard)
		for range 4 {
			w.Write(chunk)
		}
	}
}
