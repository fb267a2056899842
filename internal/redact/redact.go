// Package redact masks secrets in text that streams by, also when they are
// split over writes, encoded, or shown line by line.
package redact

import (
	"bytes"
	"encoding/binary"
	"slices"
)

const (
	// Mask stands for what was masked.
	Mask = "***"
	// MinBytes is the length below which a secret is not masked: it would hide
	// too much that is none.
	MinBytes = 4
)

// Masker knows what to mask. It is safe for concurrent use.
//
// Every occurrence of a secret is masked, and those that overlap get one Mask
// together. The output holds no secret, unless a secret has Mask in it.
type Masker struct {
	skipped []int
	// filter has a bit for the hash of the first four bytes of each pattern, so
	// that most of a text is passed over with one test a byte.
	filter [1 << (hashBits - 6)]uint64
	// byHead has the patterns by their first four bytes, the longest first.
	byHead map[uint32][][]byte
	// heads are the beginnings of patterns of one to three bytes.
	heads map[string]bool
}

const hashBits = 16

func hash(head uint32) uint32 { return (head * 2654435761) >> (32 - hashBits) }

// New makes a Masker for the secrets. Of each it masks the value, every line of
// it, the text members if it is a JSON object, and the base64, URL and JSON
// forms of it. Whatever the secrets, GitHub tokens are masked too.
func New(secrets ...string) *Masker {
	m := &Masker{byHead: map[uint32][][]byte{}, heads: map[string]bool{}}
	seen := map[string]bool{}
	for i, s := range secrets {
		if len(s) < MinBytes {
			if s != "" {
				m.skipped = append(m.skipped, i)
			}
			continue
		}
		for _, form := range forms(s) {
			if len(form) >= MinBytes && !seen[form] {
				seen[form] = true
				m.add(form)
			}
		}
	}
	for _, patterns := range m.byHead {
		slices.SortFunc(patterns, func(a, b []byte) int { return len(b) - len(a) })
	}
	for c := byte('a'); c <= 'z'; c++ {
		m.head([]byte{'g', 'h', c, '_'})
	}
	return m
}

// Skipped are the indexes of those of New's secrets that are not empty but too
// short to be masked.
func (m *Masker) Skipped() []int { return slices.Clone(m.skipped) }

// String is s with every secret masked.
func (m *Masker) String(s string) string {
	var st state
	out, _ := m.mask(make([]byte, 0, len(s)), []byte(s), &st, true)
	return string(out)
}

func (m *Masker) add(pattern string) {
	p := []byte(pattern)
	head := binary.LittleEndian.Uint32(p)
	m.byHead[head] = append(m.byHead[head], p)
	m.head(p)
}

// head enters the first four bytes of p into the filters.
func (m *Masker) head(p []byte) {
	h := hash(binary.LittleEndian.Uint32(p))
	m.filter[h>>6] |= 1 << (h & 63)
	for n := 1; n < 4; n++ {
		m.heads[string(p[:n])] = true
	}
}

// state is what goes on from one piece of a text to the next. Offsets count
// from the next piece's first byte.
type state struct {
	// masked is the end of what the last Mask stands for.
	masked int
	// token is the end of the last token; if it is open, the token may go on in
	// the next piece.
	token int
	open  bool
}

// mask appends text to out with the secrets masked and returns how much of
// text it has dealt with: all if final, else up to the first byte from which a
// secret may begin that the next piece ends.
func (m *Masker) mask(out, text []byte, st *state, final bool) ([]byte, int) {
	if st.open {
		st.token += tokenRun(text[st.token:])
		st.masked = max(st.masked, st.token)
	}
	plain := min(st.masked, len(text)) // text[plain:i] is yet to be copied
	i := m.next(text, 0)
	for ; i < len(text); i = m.next(text, i+1) {
		n, open := m.match(text, i, st, final)
		if open {
			break
		}
		if n == 0 {
			continue
		}
		if i >= st.masked {
			out = append(out, text[plain:i]...)
			out = append(out, Mask...)
		}
		st.masked = max(st.masked, i+n)
		plain = st.masked
	}
	if plain < i {
		out = append(out, text[plain:i]...)
	}
	st.masked = max(st.masked-i, 0)
	st.open = (st.open || st.token > 0) && st.token == len(text) && !final
	st.token = max(st.token-i, 0)
	if !st.open {
		st.token = 0
	}
	return out, i
}

// next is the first offset from i on at which a pattern may begin, or the
// length of text. The last three bytes always may.
func (m *Masker) next(text []byte, i int) int {
	for ; i+4 <= len(text); i++ {
		h := hash(binary.LittleEndian.Uint32(text[i:]))
		if m.filter[h>>6]&(1<<(h&63)) != 0 {
			return i
		}
	}
	return i
}

// match is the length of the longest pattern that begins at i, 0 if there is
// none. It is open if the text ends before that can be said.
func (m *Masker) match(text []byte, i int, st *state, final bool) (n int, open bool) {
	rest := text[i:]
	if len(rest) < 4 {
		return 0, !final && m.heads[string(rest)]
	}
	for _, p := range m.byHead[binary.LittleEndian.Uint32(rest)] {
		if len(p) > len(rest) {
			if !final && bytes.HasPrefix(p, rest) {
				return 0, true
			}
		} else if bytes.HasPrefix(rest, p) {
			n = len(p)
			break
		}
	}
	if i >= st.token && isTokenHead(rest) {
		run := 4 + tokenRun(rest[4:])
		switch atEnd := run == len(rest); {
		case run >= 4+minTokenRun:
			n = max(n, run)
			st.token = i + run
		case atEnd && !final:
			return 0, true
		}
	}
	return n, false
}

const minTokenRun = 20

// isTokenHead reports whether b begins with gh, a letter and _, as the tokens
// of GitHub do.
func isTokenHead(b []byte) bool {
	return b[0] == 'g' && b[1] == 'h' && 'a' <= b[2] && b[2] <= 'z' && b[3] == '_'
}

// tokenRun is the number of bytes at the beginning of b that a token may have.
func tokenRun(b []byte) int {
	for i, c := range b {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-') {
			return i
		}
	}
	return len(b)
}
