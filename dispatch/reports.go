package dispatch

import (
	"context"

	"github.com/slipway-ci/slipway/pipeline"
)

// ReportHistory keeps the reports of builds by repository and group.
type ReportHistory interface {
	// ReportHistory is a group's, the newest first; none if it has none.
	ReportHistory(ctx context.Context, g pipeline.ReportGroup) ([]pipeline.ReportPoint, error)
	// AddReport adds the group's last to it, once for a build.
	AddReport(ctx context.Context, g pipeline.ReportGroup) error
}

// KeepReports lets reports be compared with those before them. It is called
// before the service is used.
func (s *Service) KeepReports(h ReportHistory) { s.history = h }

// weighed are an ended build's reports, compared with those before them, of
// which they are now the newest. Without a history they stay as they are: it is
// no reason for a build not to end.
func (s *Service) weighed(ctx context.Context, build string, reports []pipeline.Report) []pipeline.Report {
	if s.history == nil || len(reports) == 0 {
		return reports
	}
	known, err := s.records.Build(ctx, build)
	if err != nil {
		return reports // merging fails likewise, and says so
	}
	x, err := s.records.Execution(ctx, known.Execution)
	for i := 0; i < len(reports) && err == nil; i++ {
		r := &reports[i]
		g := pipeline.ReportGroup{Repo: x.Repo, Name: r.Name}
		var past []pipeline.ReportPoint
		if past, err = s.history.ReportHistory(ctx, g); err != nil {
			break
		}
		r.Weigh(x, r.Point(x, build, s.now()).Past(past))
		g.Last = r.Point(x, build, s.now().UTC())
		err = s.history.AddReport(ctx, g)
	}
	if err != nil {
		s.log.WarnContext(ctx, "history of a report not kept", "job", build, "execution", known.Execution, "error", err)
	}
	return reports
}
