package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	reportPoints = 500 // of a group's history
	reportGroups = 200 // of a repository: a build names them as it likes
)

// testKeys are the keys of one repository's report groups.
type testKeys string

func testKeysOf(forgeName, repo string) testKeys {
	return testKeys(strings.ToLower(forgeName + "/" + repo))
}

// groups is a hash: name -> the group as JSON.
func (k testKeys) groups() string { return "slipway:{tests:" + string(k) + "}:groups" }

// points is a list of the group's points as JSON, the newest first.
func (k testKeys) points(group string) string {
	return "slipway:{tests:" + string(k) + "}:points:" + group
}

// reportMember names a group in the list of all groups.
func reportMember(k testKeys, group string) string { return string(k) + "\x00" + group }

func groupOfMember(member string) (k testKeys, group string) {
	repo, group, _ := strings.Cut(member, "\x00")
	return testKeys(repo), group
}

// AddReport adds the last report of a group, a build's, to its history, unless
// the build is there. A repository that took the name of another begins anew. More
// than 200 groups of a repository, or 500 points of a group, are not kept.
func (s *Store) AddReport(ctx context.Context, g pipeline.ReportGroup) error {
	k, p := testKeysOf(g.Repo.Forge, g.Repo.FullName()), g.Last
	past, err := s.ReportHistory(ctx, g)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(past, func(old pipeline.ReportPoint) bool { return old.Build == p.Build }) {
		return nil
	}
	group, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("encoding report group %s: %w", g.Name, err)
	}
	point, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encoding report %s: %w", g.Name, err)
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	if len(past) == 0 {
		if room, err := s.roomForGroup(ctx, k); err != nil || !room {
			return err
		}
	}
	// The list comes first: a repeat ends above, and a group that is not there is
	// left out of it.
	if err := s.listReport(ctx, reportMember(k, g.Name), p.At); err != nil {
		return err
	}
	_, err = s.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		if len(past) == 0 {
			tx.Del(ctx, k.points(g.Name))
		}
		tx.LPush(ctx, k.points(g.Name), point)
		tx.LTrim(ctx, k.points(g.Name), 0, reportPoints-1)
		tx.HSet(ctx, k.groups(), g.Name, group)
		tx.PExpire(ctx, k.points(g.Name), s.keepReports)
		tx.PExpire(ctx, k.groups(), s.keepReports)
		return nil
	})
	return wrapped("saving report "+g.Name, err)
}

// roomForGroup reports whether a repository may have one more group. Those whose
// reports have expired make room.
func (s *Store) roomForGroup(ctx context.Context, k testKeys) (bool, error) {
	n, err := s.rdb.HLen(ctx, k.groups()).Result()
	if err != nil || n < reportGroups {
		return err == nil, wrapped("counting report groups", err)
	}
	all, err := s.rdb.HGetAll(ctx, k.groups()).Result()
	if err != nil {
		return false, wrapped("counting report groups", err)
	}
	var gone []string
	for name, data := range all {
		var g pipeline.ReportGroup
		if err := json.Unmarshal([]byte(data), &g); err != nil {
			return false, fmt.Errorf("decoding report group %s: %w", name, err)
		}
		if s.expired(g.Last) {
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return false, nil
	}
	return true, wrapped("removing expired report groups", s.rdb.HDel(ctx, k.groups(), gone...).Err())
}

// listReport puts a group at the head of the list of all, which forgets those
// that have nothing any more.
func (s *Store) listReport(ctx context.Context, member string, at time.Time) error {
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, reportsKey(), redis.Z{Score: float64(at.UnixMicro()), Member: member})
		p.ZRemRangeByScore(ctx, reportsKey(), "-inf", strconv.FormatInt(time.Now().Add(-s.keepReports).UnixMicro(), 10))
		return nil
	})
	return wrapped("listing a report group", err)
}

// LatestReportGroups lists the groups of all repositories, the one that was
// reported to last first. A limit of 0 means 50; at most 200 are listed.
func (s *Store) LatestReportGroups(ctx context.Context, limit int, after string) (pipeline.Page[pipeline.ReportGroup], error) {
	page := pipeline.Page[pipeline.ReportGroup]{Items: []pipeline.ReportGroup{}}
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 200)
	from, err := parseAfter(after)
	if err != nil {
		return page, err
	}
	places, err := s.places(ctx, reportsKey(), from, limit+1)
	if err != nil {
		return page, fmt.Errorf("listing report groups: %w", err)
	}
	if len(places) > limit {
		places = places[:limit]
		page.Next = places[limit-1].token()
	}
	page.Items, err = s.listedReportGroups(ctx, places)
	return page, err
}

// listedReportGroups leaves out groups that are gone.
func (s *Store) listedReportGroups(ctx context.Context, places []place) ([]pipeline.ReportGroup, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	found := make([]*redis.StringCmd, len(places))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, at := range places {
			k, group := groupOfMember(at.id)
			found[i] = p.HGet(ctx, k.groups(), group)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("loading report groups: %w", err)
	}
	groups := make([]pipeline.ReportGroup, 0, len(places))
	for _, one := range found {
		data, err := one.Bytes()
		if errors.Is(err, redis.Nil) {
			continue
		}
		var g pipeline.ReportGroup
		if err == nil {
			err = json.Unmarshal(data, &g)
		}
		if err != nil {
			return nil, fmt.Errorf("loading a report group: %w", err)
		}
		if !s.expired(g.Last) {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// expired reports whether retention has taken a report.
func (s *Store) expired(p pipeline.ReportPoint) bool {
	return !p.At.IsZero() && time.Since(p.At) > s.keepReports
}

// RecentReports are up to n reports of each of the groups, the newest first.
func (s *Store) RecentReports(ctx context.Context, groups []pipeline.ReportGroup, n int) ([][]pipeline.ReportPoint, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	lists := make([]*redis.StringSliceCmd, len(groups))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, g := range groups {
			lists[i] = p.LRange(ctx, testKeysOf(g.Repo.Forge, g.Repo.FullName()).points(g.Name), 0, int64(n)-1)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("loading recent reports: %w", err)
	}
	out := make([][]pipeline.ReportPoint, len(groups))
	for i, list := range lists {
		if out[i], err = s.pointsOf(groups[i].Name, list.Val()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// pointsOf leaves out what has expired.
func (s *Store) pointsOf(group string, list []string) ([]pipeline.ReportPoint, error) {
	points := make([]pipeline.ReportPoint, 0, len(list))
	for _, one := range list {
		var p pipeline.ReportPoint
		if err := json.Unmarshal([]byte(one), &p); err != nil {
			return nil, fmt.Errorf("decoding the history of report group %s: %w", group, err)
		}
		if !s.expired(p) {
			points = append(points, p)
		}
	}
	return points, nil
}

// ReportHistory is the history of a repository's group, the newest first; none if
// there is no such group, or if the name was another repository's.
func (s *Store) ReportHistory(ctx context.Context, g pipeline.ReportGroup) ([]pipeline.ReportPoint, error) {
	known, points, err := s.ReportGroup(ctx, g.Repo.Forge, g.Repo.FullName(), g.Name)
	if errors.Is(err, pipeline.ErrNotFound) || err == nil && known.Repo.ID != g.Repo.ID {
		return nil, nil
	}
	return points, err
}

// ReportGroup is a group and its history, the newest first. ErrNotFound: there
// is none of that name.
func (s *Store) ReportGroup(ctx context.Context, forgeName, repo, name string) (pipeline.ReportGroup, []pipeline.ReportPoint, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	k, g := testKeysOf(forgeName, repo), pipeline.ReportGroup{}
	data, err := s.rdb.HGet(ctx, k.groups(), name).Bytes()
	if errors.Is(err, redis.Nil) {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return g, nil, fmt.Errorf("loading report group %s: %w", name, err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		return g, nil, fmt.Errorf("decoding report group %s: %w", name, err)
	}
	if s.expired(g.Last) {
		return pipeline.ReportGroup{}, nil, fmt.Errorf("loading report group %s: %w", name, pipeline.ErrNotFound)
	}
	list, err := s.rdb.LRange(ctx, k.points(name), 0, reportPoints-1).Result()
	if err != nil {
		return g, nil, fmt.Errorf("loading the history of report group %s: %w", name, err)
	}
	points, err := s.pointsOf(name, list)
	return g, points, err
}

// ReportGroups are a repository's groups by their names.
func (s *Store) ReportGroups(ctx context.Context, forgeName, repo string) ([]pipeline.ReportGroup, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	all, err := s.rdb.HGetAll(ctx, testKeysOf(forgeName, repo).groups()).Result()
	if err != nil {
		return nil, fmt.Errorf("listing report groups: %w", err)
	}
	groups := make([]pipeline.ReportGroup, 0, len(all))
	for name, data := range all {
		var g pipeline.ReportGroup
		if err := json.Unmarshal([]byte(data), &g); err != nil {
			return nil, fmt.Errorf("decoding report group %s: %w", name, err)
		}
		if !s.expired(g.Last) {
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, func(a, b pipeline.ReportGroup) int { return cmp.Compare(a.Name, b.Name) })
	return groups, nil
}
