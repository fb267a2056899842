package ui

import (
	"bytes"
	"encoding/xml"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/pipeline"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

var badgeColours = map[string]string{"good": "#1a7f4b", "bad": "#c0362c", "running": "#2f6fbf", "ended": "#6b7280", "waiting": "#6b7280"}

// Badge is a small drawing that says how something stands, for readmes.
func (p *Pages) Badge(label string, status pipeline.Status) ([]byte, error) {
	if utf8.RuneCountInString(label) > 40 {
		label = string([]rune(label)[:40])
	}
	state := stateOf(status)
	word := strings.ToLower(state.Word)
	left, right := textWidth(label), textWidth(word)
	var text bytes.Buffer
	if err := xml.EscapeText(&text, []byte(label)); err != nil {
		return nil, err
	}
	l, w, total := strconv.Itoa(left), strconv.Itoa(right), strconv.Itoa(left+right)
	var escaped bytes.Buffer
	if err := xml.EscapeText(&escaped, []byte(word)); err != nil {
		return nil, err
	}
	colour := badgeColours[state.Class]
	return []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="` + total + `" height="20" role="img" aria-label="` + text.String() + `: ` + escaped.String() + `">` +
		`<clipPath id="r"><rect width="` + total + `" height="20" rx="4"/></clipPath>` +
		`<g clip-path="url(#r)"><rect width="` + l + `" height="20" fill="#3b4252"/><rect x="` + l + `" width="` + w + `" height="20" fill="` + colour + `"/></g>` +
		`<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">` +
		`<text x="` + strconv.Itoa(left/2) + `" y="14">` + text.String() + `</text><text x="` + strconv.Itoa(left+right/2) + `" y="14">` + escaped.String() + `</text></g></svg>`), nil
}

// textWidth is about how wide 11 px Verdana is, with a margin.
func textWidth(s string) int { return utf8.RuneCountInString(s)*7 + 14 }
