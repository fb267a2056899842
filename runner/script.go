package runner

import (
	"fmt"
	"strings"
)

// quote makes a word that every POSIX shell reads as s.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// restore is the line that puts a script where the last one left off: its
// variables and its folder, or the source folder if that one is gone. force
// are assignments that the build can't change. What a shell says of the
// state is for nobody to read.
func (s *shell) restore(force string) string {
	return `. "$_sw_from/env.sh" 2>/dev/null; _sw_old=$OLDPWD; cd "$_sw_cwd" 2>/dev/null || cd ` + quote(s.source) +
		`; OLDPWD=$_sw_old; unset _sw_from _sw_cwd _sw_old; ` + force
}

// save writes the state down: folder, variables, and then that it is whole.
// Options that the command has set would show in the log, so they go first. An
// exported variable that bash itself holds readonly could not be read again and
// would end the next command, so its export lasts for one.
func (s *shell) save(n int) string {
	dir := fmt.Sprintf("%s/%d", s.work, n)
	return `[ -z "$BASH_VERSION" ] || export -n UID EUID PPID SHELLOPTS BASHOPTS; [ "$PWD" -ef . ] || PWD=$(pwd); _sw_cwd=$PWD; export _sw_cwd; umask 022; export -p >` + quote(dir+"/env.sh") + ` && : >` + quote(dir+"/ok")
}

// script is one command in the shape that messages of CodeBuild show: line 1
// the interpreter, 2 the state, 3 that variables are kept, 4 the user's text.
// Nothing is kept in version 0.1.
func (s *shell) script(n int, text string, b batch) string {
	keep := "set -a"
	if !s.fresh {
		trap := `{ set +efux; } 2>/dev/null; ` + s.save(n)
		keep = "trap " + quote(trap) + " EXIT; set -a"
	}
	if b.strict {
		keep += `; set -e; ! (set -o pipefail) 2>/dev/null || set -o pipefail`
	}
	return "#!/bin/sh\n" + s.restore(b.force) + "\n" + keep + "\n" + text + "\n"
}

// group runs plain commands one after the other in one shell. Each has its
// file, so that messages name its line; the shell writes it, which takes half
// as long as through the runner. Between two of
// them happens what a shell of its own would do: programs are looked for anew, a
// folder that has moved or gone is left, forced variables are set. How a command
// ended is looked at in a line of its own, because an error such as that of a
// readonly variable makes bash drop the rest of the line; the mark that it ended
// is written together with the one that the next begins.
func (s *shell) group(first int, commands []string, force string) string {
	folder := fmt.Sprintf("%s/%d/", s.work, first)
	var b strings.Builder
	b.WriteString("#!/bin/sh\n" + s.restore(force) + "\n")
	b.WriteString("IFS= read -r _sw_word; exec </dev/null; _sw_nl='\n'\n")
	b.WriteString(`_sw_end() { set -- "$?" "$@"; set +a; [ -z "$2" ] || _sw_ended="$_sw_word E $2 $1${_sw_nl}"; ` +
		`printf %s "$_sw_ended"; unset _sw_word _sw_ended _sw_nl; ` + s.save(first) + "; }\n")
	b.WriteString(`_sw_place() { set -- "$OLDPWD"; PWD=$(pwd); cd "$PWD" 2>/dev/null || cd ` + quote(s.source) + "; OLDPWD=$1; }\n")
	b.WriteString(`_sw_begin() { hash -r; [ "$PWD" -ef . ] || _sw_place; ` + force + `; printf '%s%s B %s\n' "$_sw_ended" "$_sw_word" "$1"; ` +
		`printf '#!/bin/sh\n\n\n%s\n' "$2" >` + quote(folder) + `"$1-script.sh"; }` + "\n")
	b.WriteString(`_sw_check() { set +a; [ "$1" = 0 ] || exit "$1"; _sw_ended="$_sw_word E $2 0${_sw_nl}"; }` + "\n")
	for i, text := range commands {
		fmt.Fprintf(&b, "trap '_sw_end %d' EXIT; _sw_begin %d %s || exit\nset -a\n. %s\n_sw_check \"$?\" %d\n",
			first+i, first+i, quote(text), quote(fmt.Sprintf("%s%d-script.sh", folder, first+i)), first+i)
	}
	b.WriteString("trap _sw_end EXIT\n")
	return b.String()
}
