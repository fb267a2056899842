package forgetest

import (
	"net/http"
	"strconv"
	"strings"
)

// File is a changed file; Former is its name before it was renamed.
type File struct {
	Name   string
	Former string
}

// SetChanges says which files differ between a commit or branch and another
// one. base ends in "..." as in the address that GitHub compares at.
func (g *GitHub) SetChanges(fullName, base, head string, files []File) {
	g.change(fullName, func(r *repo) { r.changes[strings.TrimSuffix(base, "...")+"..."+head] = files })
}

// GitHub's bounds on the files of a comparison and of a pull request.
const (
	compareLimit   = 300
	pullFilesLimit = 3000
)

func compare(r *repository) (int, any) {
	files, ok := r.changes[r.r.PathValue("basehead")]
	if !ok {
		return fail(http.StatusNotFound, "Not Found")
	}
	list := filesOf(files[:min(len(files), compareLimit)])
	if page := r.r.URL.Query().Get("page"); page != "" && page != "1" {
		list = []any{}
	}
	return http.StatusOK, map[string]any{"status": "ahead", "files": list, "commits": []any{}}
}

func listPullFiles(r *repository) (int, any) {
	p := r.pulls[int(r.number("number"))]
	if p == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	number := func(key string, otherwise int) int {
		if n, err := strconv.Atoi(r.r.URL.Query().Get(key)); err == nil && n > 0 {
			return n
		}
		return otherwise
	}
	files := p.Files[:min(len(p.Files), pullFilesLimit)]
	perPage := min(number("per_page", 30), 100)
	from := min((number("page", 1)-1)*perPage, len(files))
	return http.StatusOK, filesOf(files[from:min(from+perPage, len(files))])
}

func filesOf(files []File) []any {
	list := []any{}
	for _, f := range files {
		one := map[string]any{"sha": strings.Repeat("e", 40), "filename": f.Name, "status": "modified", "additions": 1, "deletions": 0, "changes": 1,
			"blob_url": "https://github.com/b", "raw_url": "https://github.com/r", "contents_url": "https://api.github.com/c"}
		if f.Former != "" {
			one["status"], one["previous_filename"] = "renamed", f.Former
		}
		list = append(list, one)
	}
	return list
}
