package forge

import (
	"net/url"
	"strconv"
	"strings"
)

// FileURL is the page of a file at a commit, where the forge has one; else it is
// empty. The path is relative to the root of the repository; line 0 means the
// whole file.
func (r Repo) FileURL(sha, path string, line int) string {
	web := strings.TrimSuffix(r.WebURL, "/")
	if web == "" || sha == "" || path == "" {
		return ""
	}
	path = (&url.URL{Path: path}).EscapedPath()
	at, mark := "", ""
	switch r.Forge {
	case "github":
		at, mark = web+"/blob/"+url.PathEscape(sha)+"/"+path, "#L"
	case "bitbucket":
		at, mark = web+"/src/"+url.PathEscape(sha)+"/"+path, "#lines-"
	case "bitbucket-server":
		at, mark = web+"/browse/"+path+"?at="+url.QueryEscape(sha), "#"
	default: // the built-in git host has no pages of files
		return ""
	}
	if line > 0 {
		at += mark + strconv.Itoa(line)
	}
	return at
}
