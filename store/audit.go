package store

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/pipeline"
)

// auditKey is a stream; an entry has one field, e, the access.Entry as JSON.
func auditKey() string { return "slipway:{audit}:log" }

// AddAudit appends to the audit log and forgets what is older than executions
// are kept for. Nothing else ever changes or removes an entry.
func (s *Store) AddAudit(ctx context.Context, e access.Entry) error {
	data, err := encodedEntry(e)
	if err != nil {
		return err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	err = s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: auditKey(), Approx: true, MinID: s.auditFrom(), Values: []any{"e", data}}).Err()
	return wrapped("writing the audit log", err)
}

func encodedEntry(e access.Entry) ([]byte, error) {
	e.V, e.ID = version, ""
	data, err := json.Marshal(e)
	return data, wrapped("encoding an audit entry", err)
}

// auditFrom is the ID of the oldest entry that is kept.
func (s *Store) auditFrom() string {
	return strconv.FormatInt(time.Now().Add(-s.keep).UnixMilli(), 10)
}

// auditSeenKey says that what happens once was noted.
func auditSeenKey(once string) string { return "slipway:{audit}:seen:" + once }

// auditSeen is for how long what happens once isn't noted again: as long as a
// delivery is known to be a repeat.
const auditSeen = 8 * 24 * time.Hour

// addAuditOnce appends an entry unless it was noted before.
//
//	KEYS  seen, log
//	ARGV  seconds that seen is kept, oldest ID to keep, entry as JSON
var addAuditOnce = redis.NewScript(`
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
  redis.call('XADD', KEYS[2], 'MINID', '~', ARGV[2], '*', 'e', ARGV[3])
end
return 0`)

// AddAuditOnce is AddAudit for what may be done again after a crash: with the
// same word for once there is one entry, also if it is called again.
func (s *Store) AddAuditOnce(ctx context.Context, once string, e access.Entry) error {
	data, err := encodedEntry(e)
	if err != nil {
		return err
	}
	err = s.run(ctx, addAuditOnce, []string{auditSeenKey(once), auditKey()}, int(auditSeen.Seconds()), s.auditFrom(), data).Err()
	return wrapped("writing the audit log", err)
}

// streamID is what an entry of a stream is called.
var streamID = regexp.MustCompile(`^[0-9]{1,18}-[0-9]{1,18}$`)

// Audit lists the audit log, newest first. A limit of 0 means 50; at most 200
// are listed.
func (s *Store) Audit(ctx context.Context, limit int, after string) (pipeline.Page[access.Entry], error) {
	page := pipeline.Page[access.Entry]{Items: []access.Entry{}}
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 200)
	from := "+"
	if after != "" {
		if !streamID.MatchString(after) {
			return page, &pipeline.UserError{Code: "INVALID_PAGE", Msg: "the page token is not one of this list"}
		}
		from = "(" + after
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	found, err := s.rdb.XRevRangeN(ctx, auditKey(), from, "-", int64(limit+1)).Result()
	if err != nil {
		return page, fmt.Errorf("reading the audit log: %w", err)
	}
	for i, m := range found {
		if i == limit {
			page.Next = found[i-1].ID
			break
		}
		text, _ := m.Values["e"].(string) // another kind fails to decode
		var e access.Entry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return page, fmt.Errorf("decoding audit entry %s: %w", m.ID, err)
		}
		e.ID = m.ID
		page.Items = append(page.Items, e)
	}
	return page, nil
}
