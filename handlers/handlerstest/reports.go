package handlerstest

import (
	"context"

	"github.com/slipway-ci/slipway/pipeline"
)

// AddReport adds the group's last report to its history.
func (s *State) AddReport(g pipeline.ReportGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append([]pipeline.ReportGroup{g}, s.reports...)
}

// ReportGroups lists the groups that have reports.
func (s *State) ReportGroups(_ context.Context, forgeName, repo string) ([]pipeline.ReportGroup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []pipeline.ReportGroup
	seen := map[string]bool{}
	for _, g := range s.reports {
		if g.Repo.Forge == forgeName && g.Repo.FullName() == repo && !seen[g.Name] {
			seen[g.Name], out = true, append(out, g)
		}
	}
	return out, nil
}

// LatestReportGroups lists the groups of all repositories.
func (s *State) LatestReportGroups(_ context.Context, limit int, after string) (pipeline.Page[pipeline.ReportGroup], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []pipeline.ReportGroup
	seen := map[string]bool{}
	for _, g := range s.reports {
		if key := g.Repo.Forge + "/" + g.Repo.FullName() + "/" + g.Name; !seen[key] {
			seen[key], all = true, append(all, g)
		}
	}
	return cut(all, limit, after), nil
}

// RecentReports are the newest of each group.
func (s *State) RecentReports(ctx context.Context, groups []pipeline.ReportGroup, n int) ([][]pipeline.ReportPoint, error) {
	out := make([][]pipeline.ReportPoint, len(groups))
	for i, g := range groups {
		_, points, err := s.ReportGroup(ctx, g.Repo.Forge, g.Repo.FullName(), g.Name)
		if err != nil {
			return nil, err
		}
		out[i] = points[:min(n, len(points))]
	}
	return out, nil
}

// ReportGroup is one with its history.
func (s *State) ReportGroup(_ context.Context, forgeName, repo, name string) (pipeline.ReportGroup, []pipeline.ReportPoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []pipeline.ReportGroup
	var points []pipeline.ReportPoint
	for _, g := range s.reports {
		if g.Repo.Forge == forgeName && g.Repo.FullName() == repo && g.Name == name {
			found, points = append(found, g), append(points, g.Last)
		}
	}
	if len(found) == 0 {
		return pipeline.ReportGroup{}, nil, pipeline.ErrNotFound
	}
	return found[0], points, nil
}
