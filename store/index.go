package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	shaPrefix = 7    // digits of a commit ID that lists are kept by
	scanLimit = 2000 // entries that one page looks at
)

// indexSummary notes an execution's state in all lists, unless a newer state is
// there.
//
//	KEYS  summary, the list of its status, the other lists
//	ARGV  ID, revision, summary as JSON, status, created in us, ms to keep,
//	      oldest creation to keep in us, base of the lists by status
//	returns 1, or 0 if what is there is newer
var indexSummary = redis.NewScript(`
local old = redis.call('HMGET', KEYS[1], 'revision', 'status')
if old[1] and tonumber(old[1]) > tonumber(ARGV[2]) then return 0 end
if old[2] and old[2] ~= ARGV[4] then redis.call('ZREM', ARGV[8] .. old[2], ARGV[1]) end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'summary', ARGV[3], 'status', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
for i = 2, #KEYS do
  redis.call('ZADD', KEYS[i], ARGV[5], ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', ARGV[7])
end
return 1`)

// Index makes lists show an execution's state. A state of a smaller revision
// never replaces one of a greater.
func (s *Store) Index(ctx context.Context, board string, x pipeline.Summary) error {
	data, err := json.Marshal(struct {
		V int `json:"v"`
		pipeline.Summary
	}{version, x})
	if err != nil {
		return fmt.Errorf("encoding the summary of %s: %w", x.ID, err)
	}
	status := string(x.Status)
	keys := []string{summaryKey(x.ID), listStatusKey(status), listAllKey(), listForgeKey(x.Forge), listRepoKey(strings.ToLower(x.Repo))}
	if len(x.SHA) >= shaPrefix {
		keys = append(keys, listSHAKey(strings.ToLower(x.SHA[:shaPrefix])))
	}
	if err := s.noteBoard(ctx, board); err != nil {
		return err
	}
	oldest := x.CreatedAt.Add(-s.keep).UnixMicro()
	n, err := s.run(ctx, indexSummary, keys, x.ID, x.Revision, data, status,
		x.CreatedAt.UnixMicro(), s.keep.Milliseconds(), oldest, listStatusKey("")).Int()
	if err != nil {
		return fmt.Errorf("indexing execution %s: %w", x.ID, err)
	}
	if n == 1 {
		s.publish(ctx, changesChannel(), x.ID)
	}
	return nil
}

// Executions lists executions, the newest first. Repo is owner/name, SHA a
// commit ID or at least 7 digits of its beginning; a shorter one, or a page
// token of another list, is a *UserError. A page may have fewer items than the
// limit and still not be the last: only an empty Next says so.
func (s *Store) Executions(ctx context.Context, q pipeline.Query) (pipeline.Page[pipeline.Summary], error) {
	var page pipeline.Page[pipeline.Summary]
	if q.SHA != "" && len(q.SHA) < shaPrefix {
		return page, &pipeline.UserError{Code: "INVALID_SHA", Msg: fmt.Sprintf("sha: want at least %d digits", shaPrefix)}
	}
	if q.Limit <= 0 {
		q.Limit = 50
	}
	q.Limit = min(q.Limit, 200)
	from, err := parseAfter(q.After)
	if err != nil {
		return page, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	list := listFor(q)
	for seen := 0; seen < scanLimit; {
		found, err := s.listed(ctx, list, from, q.Limit+1)
		if err != nil {
			return page, fmt.Errorf("listing executions: %w", err)
		}
		for _, f := range found {
			if len(page.Items) == q.Limit {
				page.Next = from.token()
				return page, nil
			}
			from = f.place
			if f.summary != nil && matches(q, *f.summary) {
				page.Items = append(page.Items, *f.summary)
			}
		}
		if len(found) <= q.Limit {
			return page, nil
		}
		seen += len(found)
	}
	page.Next = from.token()
	return page, nil
}

// ExecutionCounts is about how many executions that are kept have each of the
// states.
func (s *Store) ExecutionCounts(ctx context.Context, states ...pipeline.Status) (map[pipeline.Status]int64, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	answers := make([]*redis.IntCmd, len(states))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, status := range states {
			answers[i] = p.ZCard(ctx, listStatusKey(string(status)))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("counting executions: %w", err)
	}
	out := map[pipeline.Status]int64{}
	for i, status := range states {
		out[status] = answers[i].Val()
	}
	return out, nil
}

// listFor is the shortest list that holds all that a query asks for.
func listFor(q pipeline.Query) string {
	switch {
	case q.SHA != "":
		return listSHAKey(strings.ToLower(q.SHA[:shaPrefix]))
	case q.Repo != "":
		return listRepoKey(strings.ToLower(q.Repo))
	case q.Status != "":
		return listStatusKey(string(q.Status))
	case q.Forge != "":
		return listForgeKey(q.Forge)
	}
	return listAllKey()
}

func matches(q pipeline.Query, x pipeline.Summary) bool {
	return (q.Forge == "" || q.Forge == x.Forge) &&
		(q.Repo == "" || strings.EqualFold(q.Repo, x.Repo)) &&
		(q.Status == "" || q.Status == x.Status) &&
		(q.PipelineID == "" || q.PipelineID == x.PipelineID) &&
		strings.HasPrefix(strings.ToLower(x.SHA), strings.ToLower(q.SHA))
}

// place is a place in a list, which goes from newer to older.
type place struct {
	at int64 // us
	id string
}

// follows says whether p comes after q.
func (p place) follows(q place) bool {
	return cmp.Or(cmp.Compare(q.at, p.at), cmp.Compare(q.id, p.id)) > 0
}

func (p place) token() string {
	return strconv.FormatInt(p.at, 36) + "." + base64.RawURLEncoding.EncodeToString([]byte(p.id))
}

// parseAfter reads a page token; the empty one is before everything.
func parseAfter(token string) (place, error) {
	if token == "" {
		return place{at: 1<<53 - 1}, nil
	}
	at, rest, _ := strings.Cut(token, ".")
	n, err := strconv.ParseInt(at, 36, 64)
	id, err2 := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || err2 != nil {
		return place{}, &pipeline.UserError{Code: "INVALID_PAGE", Msg: "the page token is not one of this list"}
	}
	return place{at: n, id: string(id)}, nil
}

// places are up to n places after from in a list, fewer only at its end.
func (s *Store) places(ctx context.Context, key string, from place, n int) ([]place, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var found []place
	for offset := 0; len(found) < n; offset += n {
		got, err := s.rdb.ZRevRangeByScoreWithScores(ctx, key, &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(from.at, 10), Offset: int64(offset), Count: int64(n),
		}).Result()
		if err != nil {
			return nil, err
		}
		for _, z := range got {
			id, _ := z.Member.(string)
			if p := (place{at: int64(z.Score), id: id}); p.follows(from) && len(found) < n {
				found = append(found, p)
			}
		}
		if len(got) < n {
			break
		}
	}
	return found, nil
}

// listing is one entry of a list; without a summary if retention has taken it.
type listing struct {
	place   place
	summary *pipeline.Summary
}

// listed are up to n entries after from, fewer only at the end of the list.
func (s *Store) listed(ctx context.Context, key string, from place, n int) ([]listing, error) {
	places, err := s.places(ctx, key, from, n)
	if err != nil {
		return nil, err
	}
	found := make([]listing, len(places))
	for i, p := range places {
		found[i].place = p
	}
	return found, s.summaries(ctx, found)
}

// summaries fills in what the entries say.
func (s *Store) summaries(ctx context.Context, found []listing) error {
	answers := make([]*redis.StringCmd, len(found))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, f := range found {
			answers[i] = p.HGet(ctx, summaryKey(f.place.id), "summary")
		}
		return nil
	})
	if err != nil && err != redis.Nil {
		return err
	}
	for i, a := range answers {
		if a.Err() == redis.Nil {
			continue
		}
		var x struct {
			V int `json:"v"`
			pipeline.Summary
		}
		if err := json.Unmarshal([]byte(a.Val()), &x); err != nil {
			return fmt.Errorf("decoding the summary of %s: %w", found[i].place.id, err)
		}
		if x.V <= version {
			found[i].summary = &x.Summary
		}
	}
	return nil
}
