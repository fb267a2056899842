package runner

import (
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// plain reports whether a command may share a shell with its neighbours: every
// part of it is known to change nothing but what lives on between commands
// anyway (CodeBuild reference 2.3). Anything doubtful, and all that POSIX
// doesn't have, has a shell of its own, which costs some milliseconds.
func plain(text string) bool {
	if len(text) > maxPlainBytes || strings.Contains(text, "_sw") || strings.ContainsAny(text, "\x00\r") {
		return false
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
	if err != nil || len(file.Stmts) == 0 {
		return false
	}
	ok := true
	syntax.Walk(file, func(n syntax.Node) bool {
		ok = ok && (n == nil || plainNode(n))
		return ok
	})
	return ok
}

// maxPlainBytes bounds what is parsed.
const maxPlainBytes = 64 << 10

func plainNode(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.File, *syntax.Comment, *syntax.Word, *syntax.Lit, *syntax.BinaryCmd, *syntax.Subshell, *syntax.Block,
		*syntax.IfClause, *syntax.WhileClause, *syntax.ForClause, *syntax.CaseClause, *syntax.CaseItem, *syntax.CmdSubst:
		return true
	case *syntax.SglQuoted:
		return !n.Dollar
	case *syntax.DblQuoted:
		return !n.Dollar
	case *syntax.Stmt:
		return !n.Background && !n.Coprocess
	case *syntax.WordIter:
		return plainTarget(n.Name.Value)
	case *syntax.Redirect:
		return n.Hdoc == nil && (n.N == nil || len(n.N.Value) == 1)
	case *syntax.Assign:
		return n.Name != nil && plainTarget(n.Name.Value)
	case *syntax.ParamExp:
		return plainParameter(n)
	case *syntax.CallExpr:
		return plainCall(n.Args)
	}
	return false
}

// plainParameter allows what reads a variable.
func plainParameter(p *syntax.ParamExp) bool {
	if p.Param == nil || p.Excl || p.Index != nil || p.Slice != nil || p.Repl != nil || p.Names != 0 {
		return false
	}
	if p.Exp != nil && slices.Contains(writing, p.Exp.Op) {
		return false
	}
	name := p.Param.Value
	return name == "?" || syntax.ValidName(name) && !special.MatchString(name)
}

// writing are the expansions that set a variable or end the shell.
var writing = []syntax.ParExpOperator{syntax.AssignUnset, syntax.AssignUnsetOrNull, syntax.ErrorUnset, syntax.ErrorUnsetOrNull}

// special are the variables that tell one shell from another, or that change
// how a shell works.
var special = regexp.MustCompile(`^(_|IFS|E?UID|SECONDS|S?RANDOM|LINENO|BASH.*|FUNCNAME|DIRSTACK|PIPESTATUS|EPOCH.*|OPT.*|HIST.*|PPID|` +
	`POSIX.*|SHELLOPTS|ENV)$`)

// plainTarget reports whether a variable may be set.
func plainTarget(name string) bool {
	return name != "PWD" && !special.MatchString(name)
}

var (
	format      = regexp.MustCompile(`^[A-Za-z0-9%]`) // never an option
	programName = regexp.MustCompile(`^(\[|[A-Za-z0-9_./][A-Za-z0-9_./+-]*)$`)
)

func plainCall(args []*syntax.Word) bool {
	if len(args) == 0 {
		return true
	}
	name, args := args[0].Lit(), args[1:]
	switch {
	case !programName.MatchString(name) || unplain[name]:
		return false
	case name == "export":
		return len(args) > 0 && !slices.ContainsFunc(args, func(w *syntax.Word) bool { return !plainExport(w) })
	case name == "printf":
		return len(args) > 0 && plainFormat(args[0])
	}
	return true
}

// plainExport reports whether an argument of export is NAME or NAME=word.
func plainExport(w *syntax.Word) bool {
	lit, ok := w.Parts[0].(*syntax.Lit)
	if !ok {
		return false
	}
	name, _, assigns := strings.Cut(lit.Value, "=")
	return syntax.ValidName(name) && plainTarget(name) && (assigns || len(w.Parts) == 1)
}

// plainFormat reports whether an argument can't be an option.
func plainFormat(w *syntax.Word) bool {
	var text string
	switch p := w.Parts[0].(type) {
	case *syntax.Lit:
		text = p.Value
	case *syntax.SglQuoted:
		text = p.Value
	case *syntax.DblQuoted:
		if len(p.Parts) > 0 {
			if lit, ok := p.Parts[0].(*syntax.Lit); ok {
				text = lit.Value
			}
		}
	}
	return format.MatchString(text)
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
