package specfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// escape is one escape of a JSON string, or a pair of \u escapes that stand
// for one character above U+FFFF.
var escape = regexp.MustCompile(`\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\.`)

// narrowed is by how many characters joinSurrogates shortens a pair.
const narrowed = len(`\uD83D\uDE00`) - len(`\U0001F600`)

// joinSurrogates rewrites the surrogate pairs of a JSON file as YAML spells
// them, which knows no pairs. Other files stay as they are. In f.pairs it
// notes the columns behind the pairs of each line, as they are after it.
func (f *File) joinSurrogates(data []byte) []byte {
	if !json.Valid(data) {
		return data
	}
	f.pairs = map[int][]int{}
	var out []byte
	line, column, last := 1, 1, 0
	for _, m := range escape.FindAllSubmatchIndex(data, -1) {
		text := data[last:m[0]]
		last = m[1]
		if m[2] < 0 {
			text = data[m[0]-len(text) : m[1]]
		}
		out = append(out, text...)
		if i := bytes.LastIndexByte(text, '\n'); i >= 0 {
			line, column, text = line+bytes.Count(text, []byte("\n")), 1, text[i+1:]
		}
		column += utf8.RuneCount(text)
		if m[2] < 0 {
			continue
		}
		out = fmt.Appendf(out, `\U%08X`, utf16.DecodeRune(unit(data[m[2]:m[3]]), unit(data[m[4]:m[5]])))
		column += len(`\U0001F600`)
		f.pairs[line] = append(f.pairs[line], column)
	}
	return append(out, data[last:]...)
}

// unit is the code unit that four hexadecimal digits stand for.
func unit(digits []byte) rune {
	n, _ := strconv.ParseUint(string(digits), 16, 16) // the pattern admits digits only
	return rune(n)
}

// sourceColumn is the column in the file of a column after joinSurrogates.
func (f *File) sourceColumn(line, column int) int {
	widened := 0
	for _, behind := range f.pairs[line] {
		if column >= behind {
			widened += narrowed
		}
	}
	return column + widened
}
