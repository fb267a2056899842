package arch

import (
	"fmt"
	"slices"
	"strings"
)

// violations are the breaches of all rules, in the order of the files.
func violations(sources []source) []string {
	var found []string
	for _, s := range sources {
		if _, ok := mayImport[s.pkg]; !ok {
			found = append(found, fmt.Sprintf("%s: package %s has no row in mayImport", s.file, s.pkg))
			continue
		}
		for _, p := range s.imports {
			if reason := forbidden(s, p); reason != "" {
				found = append(found, fmt.Sprintf("%s: imports %s: %s", s.file, p, reason))
			}
		}
		if s.test || slices.Contains(environmentReaders, s.pkg) {
			continue
		}
		for _, use := range s.env {
			found = append(found, fmt.Sprintf("%s:%s: the environment is read in cmd/slipway only", s.file, use))
		}
	}
	return found
}

// forbidden says why a file may not import a path, or nothing if it may.
func forbidden(s source, importPath string) string {
	ours, isOurs := strings.CutPrefix(importPath, modulePath+"/")
	if !isOurs {
		return forbiddenLibrary(s.pkg, importPath)
	}
	row := mayImport[s.pkg]
	helper := slices.Contains(testHelpers, ours)
	switch {
	case s.test && (ours == s.pkg || helper || slices.Contains(testsMayAlso[s.pkg], ours)), slices.Contains(row, ours):
		return ""
	case helper:
		return "only tests import a test helper"
	case slices.Contains(row, "*"):
		return ""
	}
	return fmt.Sprintf("%s may import %s", s.pkg, orNothing(row))
}

func forbiddenLibrary(pkg, importPath string) string {
	for _, l := range libraries {
		if !slices.ContainsFunc(l.paths, func(p string) bool { return strings.HasPrefix(importPath, p) }) {
			continue
		}
		if !slices.ContainsFunc(l.owners, func(owner string) bool { return covers(owner, pkg) }) {
			return fmt.Sprintf("%s belongs to %s", l.name, strings.Join(l.owners, ", "))
		}
	}
	return ""
}

// covers says whether an owner such as "store" or "handlers/..." means pkg.
func covers(owner, pkg string) bool {
	below, all := strings.CutSuffix(owner, "/...")
	return pkg == below || all && strings.HasPrefix(pkg, below+"/")
}

func orNothing(row []string) string {
	if len(row) == 0 {
		return "nothing of ours"
	}
	return strings.Join(row, ", ")
}
