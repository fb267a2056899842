package pipeline

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// glob compiles a pattern of a filter: * and ? stay within a segment, ** goes
// across, [abc] and [!abc] are sets, {a,b} are alternatives without nesting,
// and \ takes a character's meaning away (CodePipeline reference 4.3). It
// matches the whole text, and a leading dot is nothing special.
func glob(pattern string) (*regexp.Regexp, error) {
	g := globber{in: []rune(pattern)}
	g.out.WriteString(`(?s)\A(?:`)
	for g.at < len(g.in) {
		if err := g.next(); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	if g.inGroup {
		return nil, fmt.Errorf("pattern %q: { without }", pattern)
	}
	g.out.WriteString(`)\z`)
	return regexp.Compile(g.out.String())
}

// Matches reports whether a branch's name, or a full ref, matches a pattern as
// pipeline files write it: * stays between slashes, ** goes across them. An
// error means that it is no pattern.
func Matches(pattern, name string) (bool, error) {
	re, err := glob(pattern)
	return err == nil && re.MatchString(name), err
}

type globber struct {
	in      []rune
	at      int
	out     strings.Builder
	inGroup bool
}

// next translates one element.
func (g *globber) next() error {
	c := g.in[g.at]
	g.at++
	switch c {
	case '*':
		if g.at < len(g.in) && g.in[g.at] == '*' {
			g.at++
			g.out.WriteString(".*")
			return nil
		}
		g.out.WriteString("[^/]*")
	case '?':
		g.out.WriteString("[^/]")
	case '[':
		return g.set()
	case '{':
		if g.inGroup {
			return errors.New("{ within { }")
		}
		g.inGroup = true
		g.out.WriteString("(?:")
	case '}':
		g.out.WriteString(g.inside(")", "}"))
		g.inGroup = false
	case ',':
		g.out.WriteString(g.inside("|", ","))
	case '\\':
		if g.at == len(g.in) {
			return errors.New(`\ at the end`)
		}
		g.out.WriteString(regexp.QuoteMeta(string(g.in[g.at])))
		g.at++
	default:
		g.out.WriteString(regexp.QuoteMeta(string(c)))
	}
	return nil
}

// inside is one text within { } and another, taken literally, outside.
func (g *globber) inside(within, literal string) string {
	if g.inGroup {
		return within
	}
	return regexp.QuoteMeta(literal)
}

// set translates [...]: within it only ! at the beginning, - between two
// characters, and ] have a meaning.
func (g *globber) set() error {
	negated := g.at < len(g.in) && g.in[g.at] == '!'
	if negated {
		g.at++
	}
	var members []string
	for first := true; ; first = false {
		if g.at == len(g.in) {
			return errors.New("[ without ]")
		}
		c := g.in[g.at]
		g.at++
		switch {
		case c == ']' && !first:
			g.writeSet(negated, members)
			return nil
		case c == '/':
			return errors.New("/ within [ ]")
		}
		last := c
		if g.at+1 < len(g.in) && g.in[g.at] == '-' && g.in[g.at+1] != ']' {
			last = g.in[g.at+1]
			g.at += 2
		}
		if last < c {
			return fmt.Errorf("the range %c-%c is backwards", c, last)
		}
		members = append(members, setMembers(c, last)...)
	}
}

// setMembers are a range without the slash, which no set matches.
func setMembers(from, to rune) []string {
	if from <= '/' && '/' <= to {
		var parts []string
		if from < '/' {
			parts = append(parts, setMembers(from, '/'-1)...)
		}
		if '/' < to {
			parts = append(parts, setMembers('/'+1, to)...)
		}
		return parts
	}
	return []string{fmt.Sprintf(`\x{%x}-\x{%x}`, from, to)}
}

func (g *globber) writeSet(negated bool, members []string) {
	switch {
	case negated:
		g.out.WriteString("[^/" + strings.Join(members, "") + "]")
	default:
		g.out.WriteString("[" + strings.Join(members, "") + "]")
	}
}
