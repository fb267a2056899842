package report

import (
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/slipway-ci/slipway/pipeline"
)

// clover reads Clover's XML: the metrics of each file.
type clover struct {
	*Reader
	file string
}

func (c *clover) start(p []string, e element) {
	switch {
	case e.name == "file":
		c.file = e.attr("path")
		if c.file == "" {
			c.file = e.attr("name")
		}
	case e.name == "metrics" && parent(p) == "file":
		c.source(Source{
			Path:     c.file,
			Lines:    part(e.attr("coveredstatements"), e.attr("statements")),
			Branches: part(e.attr("coveredconditionals"), e.attr("conditionals")),
		})
	}
}

func (c *clover) end([]string, string) {}

// part is covered of total.
func part(covered, total string) pipeline.Coverage {
	n, all := count(covered), count(total)
	n = min(n, all)
	return pipeline.Coverage{Covered: n, Missed: all - n}
}

// jacoco reads JaCoCo's XML: the counters of each file of source.
type jacoco struct {
	*Reader
	pkg  string
	open Source
}

func (j *jacoco) start(p []string, e element) {
	switch {
	case e.name == "package":
		j.pkg = e.attr("name")
	case e.name == "sourcefile":
		j.open = Source{Path: path.Join(j.pkg, e.attr("name"))}
	case e.name == "counter" && parent(p) == "sourcefile":
		c := pipeline.Coverage{Covered: count(e.attr("covered")), Missed: count(e.attr("missed"))}
		switch e.attr("type") {
		case "LINE":
			j.open.Lines = c
		case "BRANCH":
			j.open.Branches = c
		}
	}
}

func (j *jacoco) end(p []string, _ string) {
	if p[len(p)-1] == "sourcefile" {
		j.source(j.open)
	}
}

// cobertura reads Cobertura's XML: the lines of each class. Those below methods
// say the same again, and count where a class has no others. Classes of one
// file share its lines.
type cobertura struct {
	*Reader
	file    string
	own     bool // the class has lines of its own
	methods map[int]line
}

func (c *cobertura) start(p []string, e element) {
	switch {
	case e.name == "class":
		if c.file = e.attr("filename"); c.file == "" {
			c.file = e.attr("name")
		}
		c.file = c.text(c.file, maxName)
		c.own, c.methods = false, map[int]line{}
	case e.name == "line" && len(p) > 2 && parent(p) == "lines":
		l := line{hit: count(e.attr("hits")) > 0}
		if m := conditions.FindStringSubmatch(e.attr("condition-coverage")); m != nil {
			l.branches = part(m[1], m[2])
		}
		n := int(count(e.attr("number")))
		switch p[len(p)-3] {
		case "class":
			c.own = true
			c.line(c.file, n, l)
		case "method":
			if c.methods != nil {
				c.methods[n] = l
			}
		}
	}
}

var conditions = regexp.MustCompile(`\((\d+)/(\d+)\)`)

func (c *cobertura) end(p []string, _ string) {
	if p[len(p)-1] != "class" || c.own {
		return
	}
	for n, l := range c.methods {
		c.line(c.file, n, l)
	}
}

// lineTable is what is known of lines, by file and number.
type lineTable map[string]map[int]line

type line struct {
	hit      bool
	branches pipeline.Coverage
}

// add merges: a line is covered if anything says so.
func (t lineTable) add(file string, n int, l line) {
	if t[file] == nil {
		t[file] = map[int]line{}
	}
	old, ok := t[file][n]
	if ok {
		l.hit = l.hit || old.hit
		if old.branches.Total() > l.branches.Total() || old.branches.Total() == l.branches.Total() && old.branches.Covered > l.branches.Covered {
			l.branches = old.branches
		}
	}
	t[file][n] = l
}

func (t lineTable) each(found func(Source)) {
	for _, file := range slices.Sorted(maps.Keys(t)) {
		s := Source{Path: file}
		for n, l := range t[file] {
			s.Branches.Add(l.branches)
			switch {
			case n == 0:
			case l.hit:
				s.Lines.Covered++
			default:
				s.Lines.Missed++
			}
		}
		found(s)
	}
}
