package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue/queuetest"
)

func TestReportGroups(t *testing.T) {
	queuetest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, ctx, at := newStore(rdb), t.Context(), time.Now()
		g := pipeline.ReportGroup{Name: "arn:aws:codebuild:eu-west-1:1:report-group/x"}
		g.Repo.Forge, g.Repo.ID, g.Repo.Owner, g.Repo.Name = "github", "1", "Octo", "app"
		for _, build := range []string{"b1", "b2", "b1"} { // the end of a build may be a repeat
			g.Last = pipeline.ReportPoint{Build: build, At: at, Report: pipeline.Report{Name: g.Name, Total: 3}}
			must(t, s.AddReport(ctx, g))
		}
		points, err := s.ReportHistory(ctx, g)
		if err != nil || len(points) != 2 || points[0].Build != "b2" || points[0].Total != 3 {
			t.Errorf("got %+v, %v, want b2 and b1", points, err)
		}
		other := g
		other.Repo.ID = "2"
		if points, err := s.ReportHistory(ctx, other); err != nil || len(points) != 0 {
			t.Errorf("the history of another repository of that name: %+v, %v", points, err)
		}
		must(t, s.AddReport(ctx, other))
		later := pipeline.ReportGroup{Name: "later", Last: pipeline.ReportPoint{Build: "b9", At: at.Add(time.Hour)}}
		later.Repo.Forge, later.Repo.Owner, later.Repo.Name = "github", "octo", "other"
		must(t, s.AddReport(ctx, later))
		if _, points, err := s.ReportGroup(ctx, "github", "octo/app", g.Name); err != nil || len(points) != 1 {
			t.Errorf("after it took the name: %+v, %v, want one report", points, err)
		}
		if groups, err := s.ReportGroups(ctx, "github", "octo/app"); err != nil || len(groups) != 1 || groups[0].Repo.ID != "2" {
			t.Errorf("groups %+v, %v", groups, err)
		}
		old := g
		old.Name, old.Last.At = "old", at.Add(-31*24*time.Hour)
		must(t, s.AddReport(ctx, old))
		if _, _, err := s.ReportGroup(ctx, "github", "octo/app", "old"); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("a group that has expired: %v", err)
		}
		if groups, err := s.ReportGroups(ctx, "github", "octo/app"); err != nil || len(groups) != 1 {
			t.Errorf("groups with one that has expired: %+v, %v", groups, err)
		}
		page, err := s.LatestReportGroups(ctx, 1, "")
		if err != nil || len(page.Items) != 1 || page.Items[0].Name != "later" || page.Next == "" {
			t.Errorf("the first page: %+v, %v, want the group of another repository and more", page, err)
		}
		page, err = s.LatestReportGroups(ctx, 1, page.Next)
		if err != nil || len(page.Items) != 1 || page.Items[0].Name != g.Name || page.Next != "" {
			t.Errorf("the second page: %+v, %v, want %s", page, err, g.Name)
		}
		recent, err := s.RecentReports(ctx, []pipeline.ReportGroup{later, g}, 1)
		if err != nil || len(recent) != 2 || len(recent[0]) != 1 || recent[0][0].Build != "b9" || len(recent[1]) != 1 {
			t.Errorf("recent reports: %+v, %v", recent, err)
		}
		if _, _, err := s.ReportGroup(ctx, "github", "octo/app", "none"); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("a group that isn't there: %v", err)
		}
	})
}

func TestExpiredReportGroupsMakeRoom(t *testing.T) {
	queuetest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, ctx, now := newStore(rdb), t.Context(), time.Now()
		add := func(name string, at time.Time) {
			g := pipeline.ReportGroup{Name: name, Last: pipeline.ReportPoint{Build: name, At: at}}
			g.Repo.Forge, g.Repo.Owner, g.Repo.Name = "github", "octo", "app"
			must(t, s.AddReport(ctx, g))
		}
		kept := func() int {
			groups, err := s.ReportGroups(ctx, "github", "octo/app")
			must(t, err)
			return len(groups)
		}
		for i := range 200 {
			at := now
			if i < 3 {
				at = now.Add(-31 * 24 * time.Hour)
			}
			add(fmt.Sprintf("g%d", i), at)
		}
		for i := range 5 {
			add(fmt.Sprintf("new%d", i), now)
		}
		if got, want := kept(), 200; got != want {
			t.Errorf("got %d groups, want %d: as many new ones as had expired", got, want)
		}
	})
}
