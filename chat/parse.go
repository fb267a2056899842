// Package chat understands what people write to Slipway in comments on pull
// requests, checks whether they may, and does it (forges reference, section
// 5). One table, Commands, says what there is: /help and docs/chatops.md are
// printed from it.
package chat

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The limits of a comment (forges reference 5.2). What is beyond them is
// refused whole.
const (
	bodyLimitBytes = 64 << 10
	lineLimitRunes = 512
	commandsLimit  = 10
)

// Command is one line of a comment that asks for something.
type Command struct {
	Line int    // in the comment, from 1
	Text string // as it was written
	Spec *Spec
	// Args are the words after the name; Flags the -x and --x with their values,
	// "true" for one that takes none; Variables the key=value.
	Args      []string
	Flags     map[string]string
	Variables map[string]string
	// Custom is set where the repository's own pipelines may know the command:
	// the line without the prefix. Unknown is what its author is told if they
	// don't; nil: nothing, it is somebody else's.
	Custom  string
	Unknown error
}

// Problem is a line that was meant as a command and can't be understood.
type Problem struct {
	Line    int
	Text    string
	Message string // for its author
}

// ErrRefused says that a comment as a whole isn't read.
var ErrRefused = errors.New("the comment isn't read")

var (
	nameForm   = regexp.MustCompile(`^[a-z][a-z0-9-]{1,31}$`)
	keyForm    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,99}$`)
	compatForm = regexp.MustCompile(`(?i)^/codebuild_run\(([0-9a-f]{40}|[0-9a-f]{64})\)$`)
)

// Parse reads the commands of a comment. Of names that are in no table, up to
// 10 are left to the repository's own pipelines; with prefixOnly only lines
// that begin with "/slipway NAME" are read at all. It expands nothing: words are what was written.
func Parse(body string, prefixOnly bool) ([]Command, []Problem, error) {
	if len(body) > bodyLimitBytes || !utf8.ValidString(body) {
		return nil, nil, fmt.Errorf("%w: it is longer than %d KiB or no text", ErrRefused, bodyLimitBytes>>10)
	}
	body = norm.NFC.String(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(body))
	var commands []Command
	var problems []Problem
	seen := map[string]bool{}
	custom := 0
	for _, l := range visible(body) {
		if seen[l.text] {
			continue
		}
		seen[l.text] = true
		c, err := parseLine(l, prefixOnly)
		if c != nil && c.Custom != "" {
			if custom++; custom <= commandsLimit {
				commands = append(commands, *c)
			}
			continue
		}
		switch {
		case err != nil:
			problems = append(problems, Problem{Line: l.number, Text: cut(l.text), Message: err.Error()})
		case c != nil:
			commands = append(commands, *c)
		}
		if len(commands)+len(problems)-min(custom, commandsLimit) > commandsLimit {
			return nil, nil, fmt.Errorf("%w: it has more than %d commands", ErrRefused, commandsLimit)
		}
	}
	return commands, problems, nil
}

// parseLine is nil if the line is no command of ours.
func parseLine(l line, prefixOnly bool) (*Command, error) {
	if m := compatForm.FindStringSubmatch(l.text); m != nil && !prefixOnly {
		return &Command{Line: l.number, Text: l.text, Spec: Lookup("ok-to-test"), Args: m[1:], Flags: map[string]string{}, Variables: map[string]string{}}, nil
	}
	name, rest := cutWord(l.text[1:])
	prefixed := strings.EqualFold(name, "slipway")
	if prefixed {
		name, rest = cutWord(rest)
		name = strings.TrimPrefix(name, "/")
	}
	spec := Lookup(strings.ToLower(name))
	switch {
	case !prefixed && prefixOnly:
		return nil, nil
	case prefixed && name == "":
		spec, rest = Lookup("help"), ""
	case spec == nil:
		return customLine(l, name, rest, prefixed)
	}
	if utf8.RuneCountInString(l.text) > lineLimitRunes {
		return nil, fmt.Errorf("the line is longer than %d characters", lineLimitRunes)
	}
	words, err := split(rest)
	if err != nil {
		return nil, err
	}
	c := &Command{Line: l.number, Text: l.text, Spec: spec, Flags: map[string]string{}, Variables: map[string]string{}}
	if err := c.sort(words); err != nil {
		return nil, fmt.Errorf("%w; usage: `%s`", err, spec.Usage())
	}
	return c, nil
}

// customLine is a line whose name is in no table.
func customLine(l line, name, rest string, prefixed bool) (*Command, error) {
	var none error
	if prefixed {
		none = unknown(strings.ToLower(name))
	}
	if !nameForm.MatchString(strings.ToLower(name)) || utf8.RuneCountInString(l.text) > lineLimitRunes {
		return nil, none
	}
	return &Command{
		Line: l.number, Text: l.text, Spec: &Spec{Name: strings.ToLower(name), Who: Tester},
		Custom: strings.TrimRight("/"+name+" "+rest, " \t"), Unknown: none,
	}, nil
}

func cutWord(s string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(s, " \t"), " ")
	return strings.TrimRight(word, "\t"), strings.TrimLeft(rest, " \t")
}

// sort puts words where they belong: flags, variables, arguments.
func (c *Command) sort(words []word) error {
	for i := 0; i < len(words); i++ {
		w := words[i]
		flag, value, hasValue := strings.Cut(w.text, "=")
		key, isFlag := strings.CutPrefix(flag, "-")
		key = strings.TrimPrefix(key, "-")
		switch {
		case isFlag && !w.quoted && key != "":
			takes, ok := c.Spec.flags[key]
			switch {
			case !ok:
				return fmt.Errorf("there is no flag %s", shown(flag))
			case c.Flags[key] != "":
				return fmt.Errorf("the flag %s is there twice", shown(flag))
			case !takes && hasValue:
				return fmt.Errorf("the flag %s takes no value", shown(flag))
			case takes && !hasValue:
				if i++; i == len(words) {
					return fmt.Errorf("the flag %s wants a value", shown(flag))
				}
				value = words[i].text
			case !takes:
				value = "true"
			}
			if value == "" {
				return fmt.Errorf("the flag %s wants a value", shown(flag))
			}
			c.Flags[key] = value
		case hasValue && !w.quoted && keyForm.MatchString(flag):
			if !c.Spec.variables {
				return errors.New("it takes no variables")
			}
			if _, twice := c.Variables[flag]; twice {
				return fmt.Errorf("the variable %s is set twice", shown(flag))
			}
			c.Variables[flag] = value
		default:
			c.Args = append(c.Args, w.text)
		}
	}
	switch {
	case len(c.Args) < c.Spec.least:
		return errors.New("an argument is missing")
	case len(c.Args) > c.Spec.most:
		return errors.New("there are too many arguments")
	}
	return nil
}

// word is one word of a command; quoted if it began with a quote.
type word struct {
	text   string
	quoted bool
}

// split lexes: words, quotes, and nothing else. A backslash means something
// within double quotes only, before a quote or a backslash.
func split(s string) ([]word, error) {
	var words []word
	var b strings.Builder
	quote, inside, quoted := rune(0), false, false
	flush := func() {
		if inside {
			words = append(words, word{b.String(), quoted})
		}
		b.Reset()
		inside, quoted = false, false
	}
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case quote == '"' && r == '\\' && i+1 < len(runes) && (runes[i+1] == '"' || runes[i+1] == '\\'):
			i++
			b.WriteRune(runes[i])
		case r == quote:
			quote = 0
		case quote != 0:
			b.WriteRune(r)
		case r == '"' || r == '\'':
			quoted = quoted || !inside
			quote, inside = r, true
		case r == ' ' || r == '\t':
			flush()
		default:
			inside = true
			b.WriteRune(r)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c isn't closed", quote)
	}
	flush()
	return words, nil
}

// unknown says that there is no such command, and which may be meant.
func unknown(name string) error {
	if !nameForm.MatchString(name) {
		return errors.New("that is no command; `/help` lists them")
	}
	best, near := "", 3
	for _, c := range slices.Sorted(maps.Keys(byName)) {
		if d := distance(name, c); d < near {
			best, near = c, d
		}
	}
	if best == "" {
		return fmt.Errorf("there is no command %q; `/help` lists them", name)
	}
	return fmt.Errorf("there is no command %q; did you mean `/%s`?", name, best)
}

// distance is how many letters must be changed, added or left out to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// cut keeps what a reply may quote: the command line, and of a long one its
// beginning.
func cut(s string) string {
	if runes := []rune(s); len(runes) > 120 {
		return string(runes[:120]) + "…"
	}
	return s
}

// shown is a word of the author as a message may repeat it: in a code span,
// without what would end it.
func shown(s string) string { return "`" + strings.ReplaceAll(cut(s), "`", "'") + "`" }
