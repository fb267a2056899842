package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// minWrapped is the shortest line of wrapped base64 worth a pattern.
const minWrapped = 16

// forms are the texts in which a secret may show. Short ones and repetitions
// are the caller's to leave out.
func forms(secret string) []string {
	out := parts(secret)
	for _, s := range parts(secret) {
		out = append(out, escapes(s)...)
	}
	for _, s := range append([]string{secret}, members(secret)...) {
		out = append(out, base64Forms(s)...)
	}
	return out
}

// parts are the secret, its lines, and the texts in it if it is JSON.
func parts(secret string) []string {
	out := []string{secret, strings.TrimSpace(secret)}
	if strings.ContainsAny(secret, "\r\n") {
		for line := range strings.FieldsFuncSeq(secret, func(r rune) bool { return r == '\n' || r == '\r' }) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return append(out, members(secret)...)
}

// members are the texts in a secret that is a JSON object, as many secret
// stores keep them.
func members(secret string) []string {
	if !strings.HasPrefix(strings.TrimSpace(secret), "{") {
		return nil
	}
	var value map[string]any
	if json.Unmarshal([]byte(secret), &value) != nil {
		return nil
	}
	return leaves(nil, value)
}

func leaves(out []string, value any) []string {
	switch v := value.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, e := range v {
			out = leaves(out, e)
		}
	case map[string]any:
		for _, e := range v {
			out = leaves(out, e)
		}
	}
	return out
}

var percentCode = regexp.MustCompile(`%[0-9A-F]{2}`)

// escapes are the forms of s in URLs, JSON and shell text, and in hexadecimal.
func escapes(s string) []string {
	urls := []string{url.QueryEscape(s), url.PathEscape(s), percent(s, ""), percent(s, "/"), percent(s, "!'()*")}
	out := urls
	for _, u := range urls {
		out = append(out, percentCode.ReplaceAllStringFunc(u, strings.ToLower))
	}
	for _, html := range []bool{true, false} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if e.Encode(s) == nil { // a string always encodes
			quoted := strings.TrimSpace(b.String())
			out = append(out, quoted[1:len(quoted)-1])
		}
	}
	code := hex.EncodeToString([]byte(s))
	return append(out, code, strings.ToUpper(code),
		strings.ReplaceAll(s, "'", `'\''`), strings.ReplaceAll(s, "'", `'"'"'`), inDoubleQuotes.Replace(s))
}

// inDoubleQuotes writes a value as "export -p" of bash does.
var inDoubleQuotes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")

// percent is s in a URL, with %20 for a blank. It leaves the characters of keep
// as they are: Python's quote keeps the slash, JavaScript's encodeURIComponent
// some marks, curl nothing.
func percent(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~"+keep, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// base64Forms are the base64 forms of s alone, whole and wrapped as tools wrap
// it, and the part that s alone decides when it stands at any of the three
// alignments in something longer.
func base64Forms(s string) []string {
	var out []string
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		whole := e.EncodeToString([]byte(s))
		out = append(out, whole, strings.TrimRight(whole, "="))
		for _, width := range []int{64, 76} {
			for rest := whole; len(whole) > width && len(rest) >= minWrapped; rest = rest[min(width, len(rest)):] {
				out = append(out, rest[:min(width, len(rest))])
			}
		}
		for shift := range 3 {
			code := e.EncodeToString(append(make([]byte, shift), s...))
			first := (shift*8 + 5) / 6
			last := (shift + len(s)) * 8 / 6
			out = append(out, code[first:last])
		}
	}
	return out
}
