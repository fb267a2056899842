package ui

import (
	"path"
	"strings"
)

// section is one entry of the navigation.
type section struct {
	name, path string
	below      []string // paths of its pages besides those below its own
	who        audience
}

// audience is who is shown a section.
type audience int

const (
	everybody audience = iota
	serverReaders
	admins
)

var sections = []section{
	{"Executions", "/", []string{"/executions", "/builds", "/repos"}, everybody},
	{"Pipelines", "/pipelines", nil, everybody},
	{"Deployments", "/deployments", nil, everybody},
	{"Reports", "/reports", nil, everybody},
	{"Agents", "/agents", nil, serverReaders},
	{"Deliveries", "/deliveries", nil, everybody},
	{"Dead letters", "/dead-letters", nil, serverReaders},
	{"Audit", "/audit", nil, admins},
}

// Link is an entry of the navigation as a page shows it. Current is its
// aria-current: "page" on the page itself, "true" on one of its section.
type Link struct{ Name, Path, Current string }

// Nav is the navigation for the page's reader.
func (f Frame) Nav() []Link {
	var out []Link
	for _, s := range sections {
		if s.who == everybody || s.who == serverReaders && f.Server || f.Admin {
			link := Link{Name: s.name, Path: s.path}
			if !f.Apart {
				link.Current = s.current(f.Path)
			}
			out = append(out, link)
		}
	}
	return out
}

// reportPages are the pages of reports that lie below others.
var reportPages = []string{"/builds/*/reports/*", "/repos/*/*/*/reports", "/repos/*/*/*/reports/*"}

func (s section) current(page string) string {
	page, _, _ = strings.Cut(page, "?")
	for _, pattern := range reportPages {
		if ok, _ := path.Match(pattern, page); ok {
			page = "/reports/"
		}
	}
	if page == s.path {
		return "page"
	}
	below := s.below
	if s.path != "/" {
		below = append(below, s.path)
	}
	for _, b := range below {
		if strings.HasPrefix(page, b+"/") {
			return "true"
		}
	}
	return ""
}
