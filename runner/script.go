package runner

import (
	"fmt"
	"strings"
)

// quote makes a word that every POSIX shell reads as s.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// restore is the line that puts a script where the last one left off: its
// variables and its folder, or the source folder if that one is gone. force
// are assignments that the build can't change.
func (s *shell) restore(force string) string {
	return `. "$_sw_from/env.sh"; cd "$_sw_cwd" 2>/dev/null || cd ` + quote(s.source) + `; unset _sw_from _sw_cwd; ` + force
}

// save writes the state down: folder, variables, and then that it is whole.
// Options that the command has set would show in the log, so they go first.
func (s *shell) save(n int) string {
	dir := fmt.Sprintf("%s/%d", s.work, n)
	return `[ "$PWD" -ef . ] || PWD=$(pwd); _sw_cwd=$PWD; export _sw_cwd; umask 022; export -p >` + quote(dir+"/env.sh") + ` && : >` + quote(dir+"/ok")
}

// script is one command in the shape that messages of CodeBuild show: line 1
// the interpreter, 2 the state, 3 that variables are kept, 4 the user's text.
// With fresh nothing is kept (version 0.1).
func (s *shell) script(n int, text, force string, fresh bool) string {
	keep := "set -a"
	if !fresh {
		trap := `{ set +efux; } 2>/dev/null; ` + s.save(n)
		keep = "trap " + quote(trap) + " EXIT; set -a"
	}
	return "#!/bin/sh\n" + s.restore(force) + "\n" + keep + "\n" + text + "\n"
}

// group runs plain commands one after the other in one shell. Each still has
// its file, so that messages name its line.
func (s *shell) group(first int, numbers []int, force string) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n" + s.restore(force) + "\n")
	b.WriteString("IFS= read -r _sw_word; exec </dev/null\n")
	b.WriteString(`_sw_end() { set -- $? "$@"; [ -n "$2" ] && echo "$_sw_word E $2 $1"; unset _sw_word; ` + s.save(first) + "; }\n")
	b.WriteString("set -a\n")
	for _, n := range numbers {
		fmt.Fprintf(&b, "trap '_sw_end %d' EXIT; echo \"$_sw_word B %d\"; . %s || exit; echo \"$_sw_word E %d 0\"\n",
			n, n, quote(fmt.Sprintf("%s/%d/script.sh", s.work, n)), n)
	}
	b.WriteString("trap _sw_end EXIT\n")
	return b.String()
}

// plainScript is a command of a group: the same lines without the state, which
// the group has.
func plainScript(text string) string { return "#!/bin/sh\n\n\n" + text + "\n" }
