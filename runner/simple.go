package runner

import (
	"regexp"
	"slices"
	"strings"
)

// plain reports whether a command may share a shell with its neighbours: it is
// a single line of ordinary commands, assignments and cd, so whatever it
// changes is what lives on between commands anyway (CodeBuild reference 2.3).
// Anything doubtful has a shell of its own, which costs a millisecond.
func plain(text string) bool {
	if strings.ContainsAny(text, doubtful) && !harmless(text) || special.MatchString(text) {
		return false
	}
	segments, ok := split(text)
	if !ok {
		return false
	}
	for _, s := range segments {
		if !plainCommand(s) {
			return false
		}
	}
	return len(segments) > 0
}

// doubtful are the characters of substitutions, blocks, background jobs, here
// documents, comments and escapes.
const doubtful = "\n`(){}[]&#!<\\\x00"

// special are the variables that tell one shell from another, or that change
// how a shell works.
var special = regexp.MustCompile(`\$[$0-]|\$_(?:[^A-Za-z0-9_]|$)|_sw|IFS|UID|SECONDS|RANDOM|LINENO|BASH|FUNCNAME|` +
	`DIRSTACK|PIPESTATUS|EPOCH|OPT|HIST|PPID|PWD=|POSIX|SHELLOPTS|ENV=`)

// harmless allows the one doubtful character that is frequent: && between
// commands.
func harmless(text string) bool {
	rest := strings.ReplaceAll(text, "&&", "")
	return !strings.ContainsAny(rest, doubtful)
}

// split takes a line apart at && and || and ; and | outside quotes, into words.
// Quotes stay in the words.
func split(text string) (segments [][]string, ok bool) {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	flush := func() {
		if inWord {
			words = append(words, word.String())
			word.Reset()
			inWord = false
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0:
			word.WriteByte(c)
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote, inWord = c, true
			word.WriteByte(c)
		case c == ' ' || c == '\t':
			flush()
		case c == ';' || c == '|' || c == '&':
			flush()
			if len(words) == 0 {
				return nil, false
			}
			segments, words = append(segments, words), nil
			if c != ';' && i+1 < len(text) && text[i+1] == c {
				i++
			}
		default:
			inWord = true
			word.WriteByte(c)
		}
	}
	flush()
	if quote != 0 || len(words) == 0 {
		return nil, false
	}
	return append(segments, words), true
}

var (
	assignment  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	exported    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(?:=|$)`)
	format      = regexp.MustCompile(`^['"]?[A-Za-z0-9%]`) // never an option
	programName = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./+-]*$`)
)

func plainCommand(words []string) bool {
	for len(words) > 0 && assignment.MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) == 0 {
		return true
	}
	name := words[0]
	switch {
	case !programName.MatchString(name) || unplain[name]:
		return false
	case name == "export":
		return len(words) > 1 && !slices.ContainsFunc(words[1:], func(w string) bool { return !exported.MatchString(w) })
	case name == "printf":
		return len(words) > 1 && format.MatchString(words[1])
	}
	return true
}

// unplain are the words that do more to a shell than start a program: the
// builtins and reserved words of dash, bash and busybox, but for those that
// only print, test, change the folder or set an exported variable.
var unplain = func() map[string]bool {
	const words = `. alias bg bind break builtin caller case chdir command compgen complete compopt continue coproc
		declare dirs disown do done elif else enable esac eval exec exit fc fg fi for function getopts hash help
		history if in jobs kill let local logout mapfile newgrp popd pushd read readarray readonly return select set
		shift shopt source suspend then time times trap type typeset ulimit umask unalias unset until wait while`
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}()
