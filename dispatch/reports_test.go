package dispatch

import (
	"context"
	"errors"
	"testing"

	"github.com/slipway-ci/slipway/pipeline"
)

// pastReports is a history that fails if it is told to.
type pastReports struct {
	points []pipeline.ReportPoint
	fails  error
}

func (p *pastReports) ReportHistory(context.Context, pipeline.ReportGroup) ([]pipeline.ReportPoint, error) {
	return p.points, p.fails
}

func (p *pastReports) AddReport(_ context.Context, g pipeline.ReportGroup) error {
	p.points = append([]pipeline.ReportPoint{g.Last}, p.points...)
	return p.fails
}

func failedReport() pipeline.Build {
	c := pipeline.ReportCase{Name: "a", Status: pipeline.CaseFailed}
	r := pipeline.Report{Name: "app-unit", Kind: pipeline.ReportTest, Status: pipeline.ReportFailed, Total: 1, Failed: 1}
	r.NoteBad(c)
	return pipeline.Build{Reports: []pipeline.Report{r}}
}

// A build's reports are weighed when it ends, and its end never waits for them.
func TestReportsAreWeighedAtTheEnd(t *testing.T) {
	broken := errors.New("out of memory")
	before := pipeline.ReportPoint{Build: "a", On: "branch/main", SHA: "abc", Trusted: true, Report: pipeline.Report{Kind: pipeline.ReportTest, Status: pipeline.ReportSucceeded}}
	for _, tt := range []struct {
		name string
		past pastReports
		new  int64
	}{
		{"new", pastReports{points: []pipeline.ReportPoint{before}}, 1},
		{"the first", pastReports{}, 0},
		{"without Redis", pastReports{points: []pipeline.ReportPoint{before}, fails: broken}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			s := w.service()
			s.KeepReports(&tt.past)
			w.add(job("b", pipeline.BuildJob))
			ref := claim(t, s).Job.Ref()
			if err := s.Complete(t.Context(), ref, failedReport(), pipeline.Outcome{Status: pipeline.BuildSucceeded}); err != nil {
				t.Fatal(err)
			}
			r := w.builds["b"].Reports
			if len(r) != 1 || r[0].NewBad != tt.new || r[0].Failed != 1 {
				t.Errorf("got %+v, want %d new", r, tt.new)
			}
			if tt.past.fails == nil && (tt.past.points[0].Build != "b" || tt.past.points[0].On != "branch/main") {
				t.Errorf("history %+v", tt.past.points)
			}
		})
	}
}
