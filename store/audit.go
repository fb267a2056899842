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
	e.V, e.ID = version, ""
	data, err := json.Marshal(e)
	if err != nil {
		return wrapped("encoding an audit entry", err)
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	err = s.rdb.XAdd(ctx, &redis.XAddArgs{
		Stream: auditKey(), Approx: true, MinID: strconv.FormatInt(time.Now().Add(-s.keep).UnixMilli(), 10),
		Values: []any{"e", data},
	}).Err()
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
