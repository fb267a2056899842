package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
	"github.com/slipway-ci/slipway/runner/report"
)

// ReportArtifact is how the names of stored reports begin. They are none of the
// artifacts that the buildspec asked for.
const ReportArtifact = "Report:"

const (
	reportsTime    = 2 * time.Minute
	maxBad         = 20  // cases of a report in the build's record
	maxBadMessage  = 500 // bytes of their messages there
	codeReportGate = "REPORT_CONDITION_FAILED"
)

// reportPlan is an entry of the reports block whose expressions have been
// evaluated; a problem says why they could not be.
type reportPlan struct {
	buildspec.Report
	name    string
	bundle  bundle
	problem string
	// discovered are files that were found without an entry of reports.
	discovered []string
}

// planReports evaluates the reports block, as long as the shell is there.
func (r *build) planReports(ctx context.Context) {
	if r.reportPlans != nil || r.spec == nil {
		return
	}
	r.reportPlans = []reportPlan{}
	for i, one := range r.spec.Reports {
		p := reportPlan{Report: one, name: one.Group}
		var err error
		if p.name, err = r.expand(ctx, one.Group); err == nil {
			a := buildspec.Artifacts{Files: one.Files, BaseDirectory: one.BaseDirectory}
			p.bundle, err = r.expandArtifact(ctx, a)
		}
		if err != nil {
			p.problem = "evaluating the report's paths: " + err.Error()
		}
		if !strings.HasPrefix(p.name, "arn:") {
			p.name = r.order.Project + "-" + p.name
		}
		if slices.ContainsFunc(r.reportPlans, func(other reportPlan) bool { return other.name == p.name }) {
			p.problem = "another entry of reports has the same name: " + p.name
			p.name += "-" + strconv.Itoa(i+1)
		}
		r.reportPlans = append(r.reportPlans, p)
	}
	r.discovery = r.planDiscovery(ctx)
}

// readReports reads and stores the build's reports, however it went, unless the
// buildspec's own word was ABORT (docs/decisions/014). Reports that are bad or
// broken change nothing of that, but for what fail-on asks for (CodeBuild
// reference 6.4).
func (r *build) readReports(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), pipeline.ErrStale) || r.spec == nil {
		return nil
	}
	if r.planReports(ctx); len(r.reportPlans) == 0 && !r.discovery.on {
		return nil
	}
	if r.aborted {
		r.log.line("No report is read: on-failure: ABORT ended the build")
		return nil
	}
	// Nothing may change the files while they are read.
	r.kill(ctx)()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportsTime)
	defer cancel()
	root, err := os.OpenRoot(r.place.source)
	if err != nil {
		r.Log.WarnContext(ctx, "reports lost", "job", r.order.ID, "error", err)
		return nil
	}
	defer func() { _ = root.Close() }() // only read from
	gate := r.readPlans(ctx, root, r.reportPlans)
	r.readPlans(ctx, root, r.discover(ctx, root))
	if len(gate) == 0 || r.failure != nil {
		return nil
	}
	return &pipeline.UserError{Code: codeReportGate, Msg: strings.Join(gate, "; ")}
}

// readPlans reads and stores reports, and says which don't meet their fail-on.
func (r *build) readPlans(ctx context.Context, root *os.Root, plans []reportPlan) (gate []string) {
	for _, p := range plans {
		full := r.readReport(ctx, root, p)
		kept := r.keepReport(ctx, root, full)
		r.record.Reports = append(r.record.Reports, kept)
		r.log.line("Report %s", kept)
		if why := missedGate(p.FailOn, kept); why != "" {
			gate = append(gate, "report "+kept.Name+": "+why)
		}
	}
	return gate
}

// missedGate says what of fail-on a report doesn't meet; empty: nothing.
func missedGate(f buildspec.FailOn, r pipeline.Report) string {
	percent, known := r.Lines.Percent()
	switch {
	case r.Status == pipeline.ReportIncomplete && f != (buildspec.FailOn{}):
		return "it is incomplete: " + strings.Join(r.Problems[:min(1, len(r.Problems))], "")
	case f.Failed && r.Failed+r.Errors > 0:
		return fmt.Sprintf("%d of %d tests failed", r.Failed+r.Errors, r.Total)
	case f.Errors && r.Errors > 0:
		return fmt.Sprintf("%d of %d tests ended with an error", r.Errors, r.Total)
	case known && percent < f.CoverageBelow:
		return fmt.Sprintf("%.1f%% of lines are covered, want %g%%", percent, f.CoverageBelow)
	}
	return ""
}

func (r *build) readReport(ctx context.Context, root *os.Root, p reportPlan) report.Report {
	reader := report.New(p.name, p.Format, report.Options{Mask: r.log.masker.String})
	if p.problem != "" {
		reader.Problem(p.problem)
		return reader.Report()
	}
	files, err := r.reportFiles(root, p, reader)
	if err != nil {
		reader.Problem(err.Error())
		return reader.Report()
	}
	taken := 0
	for _, f := range files {
		if ctx.Err() != nil {
			reader.Problem(fmt.Sprintf("reading reports takes more than %s", reportsTime))
			break
		}
		if readReportFile(root, reader, f) {
			r.reported[f.path] = true
			taken++
		}
	}
	if taken == 0 {
		reader.Problem("no report file found for " + strings.Join(p.bundle.Files, ", "))
	}
	return reader.Report()
}

// reportFile is a path in the source; found says that a pattern led to it.
type reportFile struct {
	path  string
	found bool
}

// reportFiles are the files that a plan means, each once. Files of one name in
// several base folders are all meant.
func (r *build) reportFiles(root *os.Root, p reportPlan, reader *report.Reader) ([]reportFile, error) {
	var files []reportFile
	for _, name := range p.discovered {
		files = append(files, reportFile{name, true})
	}
	if len(files) > 0 {
		return files, nil
	}
	bases, err := p.bundle.bases(root.FS())
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, base := range bases {
		c := collection{root: root.FS(), bundle: p.bundle, seen: map[string]string{}}
		for _, pattern := range p.bundle.Files {
			before := len(c.entries)
			if err := c.add(base, pattern, func(string, ...any) {}); err != nil {
				reader.Problem(err.Error())
			}
			for _, e := range c.entries[before:] {
				if !seen[e.Path] {
					named := e.Path == path.Join(base, pattern) && !strings.ContainsAny(pattern, "*?[{")
					seen[e.Path], files = true, append(files, reportFile{e.Path, !named})
				}
			}
		}
	}
	return files, nil
}

// readReportFile reports whether the file was one of the report.
func readReportFile(root *os.Root, reader *report.Reader, file reportFile) bool {
	f, err := root.OpenFile(file.path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		reader.Problem(file.path + ": can't be opened")
		return true
	}
	defer func() { _ = f.Close() }() // only read from
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		reader.Problem(file.path + ": not a regular file")
		return true
	}
	// The reader keeps its mistakes as problems of the report.
	if file.found {
		taken, _ := reader.ReadFound(file.path, f)
		return taken
	}
	_ = reader.Read(file.path, f)
	return true
}

// keepReport stores a report and is what of it the build's record keeps.
func (r *build) keepReport(ctx context.Context, root *os.Root, full report.Report) pipeline.Report {
	r.locate(root, &full)
	kept := full.Report
	for _, c := range full.Cases {
		if c.Status != pipeline.CaseFailed && c.Status != pipeline.CaseError {
			continue
		}
		kept.NoteBad(c.ReportCase)
		r.annotateCase(c.ReportCase)
		if len(kept.Bad) < maxBad {
			bad := c.ReportCase
			bad.Message = strings.ToValidUTF8(bad.Message[:min(len(bad.Message), maxBadMessage)], "")
			kept.Bad = append(kept.Bad, bad)
		}
	}
	data, err := json.MarshalIndent(full, "", " ")
	if err == nil {
		a := pipeline.Artifact{Name: ReportArtifact + kept.Name, Format: "json", Files: 1}
		if a, err = r.sink.Artifact(ctx, a, bytes.NewReader(append(data, '\n'))); err == nil {
			kept.Stored = &a
			return kept
		}
	}
	r.Log.WarnContext(ctx, "report of a build not kept", "job", r.order.ID, "error", err)
	return kept
}

// inSource makes a path relative to the source if it is one of the source's.
func (r *build) inSource(name string) string {
	for _, dir := range []string{r.shell.source, r.place.source} {
		if rest, ok := strings.CutPrefix(path.Clean(name), path.Clean(dir)+"/"); ok {
			return rest
		}
	}
	return name
}

// locate makes the files of a report relative to the source, and notes which of
// them are there.
func (r *build) locate(root *os.Root, full *report.Report) {
	there := map[string]bool{}
	place := func(file *string) bool {
		*file = r.inSource(*file)
		name := path.Clean(*file)
		if *file == "" || !filepath.IsLocal(name) {
			return false
		}
		if _, known := there[name]; !known {
			info, err := fs.Stat(root.FS(), name)
			there[name] = err == nil && info.Mode().IsRegular()
		}
		if there[name] {
			*file = name
		}
		return there[name]
	}
	for i := range full.Cases {
		full.Cases[i].Located = place(&full.Cases[i].File)
	}
	for i := range full.Sources {
		full.Sources[i].Located = place(&full.Sources[i].Path)
	}
}

// annotateCase points at a case that failed, if its place is in the source.
func (r *build) annotateCase(c pipeline.ReportCase) {
	if c.Line <= 0 || !c.Located || len(r.outcome.Annotations) == maxAnnotations {
		return
	}
	a := forge.Annotation{Path: c.File, StartLine: c.Line, EndLine: c.Line, Level: "failure", Title: c.Name, Message: c.Message}
	if a.Message == "" {
		a.Message = "the test ended as " + string(c.Status)
	}
	if !slices.Contains(r.outcome.Annotations, a) {
		r.outcome.Annotations = append(r.outcome.Annotations, a)
	}
}
