package queue

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// record is what the ledger adds to a delivery once it was decided on.
type record struct {
	V          int       `json:"v"`
	Decision   string    `json:"decision"`
	Reason     string    `json:"reason,omitempty"`
	Executions []string  `json:"executions,omitempty"`
	DecidedAt  time.Time `json:"decided_at"`
}

const (
	refusedLimit     = 1000
	headerLimitBytes = 4 << 10 // of a refused delivery: anybody can send one
	pageLimit        = 200
)

// Refuse records a delivery that was turned away: headers, reason and digest,
// no body. The last 1,000 are kept. It does not hinder a delivery of the same ID.
func (in *Inbox) Refuse(ctx context.Context, d pipeline.Delivery) error {
	d.V, d.Body, d.BodyBlob, d.Verdict = 1, nil, "", pipeline.Refused
	d.Headers = harmless(d.Headers)
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now().UTC()
	}
	d.ID, d.Event, d.Action, d.Repo = short(d.ID), short(d.Event), short(d.Action), short(d.Repo)
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding a refused delivery: %w", err)
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	if err := in.rdb.XAdd(ctx, &redis.XAddArgs{Stream: refusedKey(), MaxLen: refusedLimit, Values: []any{"d", data}}).Err(); err != nil {
		return fmt.Errorf("recording a refused delivery: %w", err)
	}
	return nil
}

func short(s string) string { return s[:min(len(s), 256)] }

// harmless keeps headers within the limit, without credentials.
func harmless(h http.Header) http.Header {
	kept, size := http.Header{}, 0
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}) {
		switch http.CanonicalHeaderKey(name) {
		case "Authorization", "Proxy-Authorization", "Cookie":
			continue
		}
		value := short(strings.Join(h[name], ", "))
		if size += len(name) + len(value); size > headerLimitBytes {
			break
		}
		kept[name] = []string{value}
	}
	return kept
}

// Delivery is a delivery with its body (unless that is in the blob store), and
// what became of it. ErrNotFound: the ledger doesn't have it.
func (in *Inbox) Delivery(ctx context.Context, forge, id string) (pipeline.Delivery, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	m := member(forge, id)
	d, err := in.load(ctx, shardOf(m), m)
	if errors.Is(err, pipeline.ErrNotFound) {
		d, err = in.refused(ctx, forge, id)
	}
	if err != nil {
		return pipeline.Delivery{}, fmt.Errorf("loading delivery %s: %w", id, err)
	}
	return d, nil
}

func (in *Inbox) refused(ctx context.Context, forge, id string) (pipeline.Delivery, error) {
	all, err := in.refusedOnes(ctx, forge)
	if err != nil {
		return pipeline.Delivery{}, err
	}
	for _, l := range all {
		if l.delivery.ID == id {
			return *l.delivery, nil
		}
	}
	return pipeline.Delivery{}, pipeline.ErrNotFound
}

var recordFields = []string{"head", "decision", "attempt", "body", "zbody"}

func (in *Inbox) load(ctx context.Context, s shard, m string) (pipeline.Delivery, error) {
	fields, err := in.rdb.HMGet(ctx, s.record(m), recordFields...).Result()
	if err != nil {
		return pipeline.Delivery{}, err
	}
	return deliveryOf(fields)
}

// deliveryOf puts a record together. Fields may be missing from the end on.
func deliveryOf(fields []any) (pipeline.Delivery, error) {
	var d pipeline.Delivery
	text := func(i int) string {
		if i >= len(fields) {
			return ""
		}
		s, _ := fields[i].(string) // nil: there is none
		return s
	}
	if text(0) == "" {
		return d, pipeline.ErrNotFound
	}
	if err := json.Unmarshal([]byte(text(0)), &d); err != nil {
		return d, fmt.Errorf("decoding a delivery: %w", err)
	}
	if d.V > 1 {
		return d, fmt.Errorf("delivery %s: %w", d.ID, errNewer)
	}
	if t := text(1); t != "" {
		var r record
		if err := json.Unmarshal([]byte(t), &r); err != nil {
			return d, fmt.Errorf("decoding the decision on delivery %s: %w", d.ID, err)
		}
		d.Decision, d.Reason, d.Executions, d.DecidedAt = r.Decision, r.Reason, r.Executions, r.DecidedAt
	}
	if t := text(2); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil {
			return d, fmt.Errorf("decoding the attempt of delivery %s: %w", d.ID, err)
		}
		d.Attempt = n
	}
	d.Body = []byte(text(3))
	if packed := text(4); packed != "" {
		var err error
		if d.Body, err = unpack([]byte(packed)); err != nil {
			return d, fmt.Errorf("unpacking the body of delivery %s: %w", d.ID, err)
		}
	}
	return d, nil
}

// bodyLimitBytes is the most that a packed body unpacks to.
const bodyLimitBytes = 32 << 20

func unpack(data []byte) ([]byte, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(bodyLimitBytes))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.DecodeAll(data, nil)
}

// packedBody is the body of a delivery, compressed; empty if that is done, or
// isn't worth it.
func (in *Inbox) packedBody(ctx context.Context, s shard, m string) ([]byte, error) {
	body, err := in.rdb.HGet(ctx, s.record(m), "body").Bytes()
	if errors.Is(err, redis.Nil) || len(body) < 512 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a body to pack it: %w", err)
	}
	w, err := in.packer()
	if err != nil {
		return nil, fmt.Errorf("packing a body: %w", err)
	}
	return w.EncodeAll(body, nil), nil
}

// line is a delivery's place in the ledger.
type line struct {
	at       int64 // us
	member   string
	delivery *pipeline.Delivery // of a refused one
}

// newer orders lines, the newest first.
func newer(a, b line) int {
	return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(b.member, a.member))
}

// Deliveries lists deliveries, the newest first, refused ones among them,
// without bodies. An empty forge means all of them. limit is 1 to 200, 0 means
// 50; after is the page before's Next.
func (in *Inbox) Deliveries(ctx context.Context, forge string, limit int, after string) (pipeline.Page[pipeline.Delivery], error) {
	var page pipeline.Page[pipeline.Delivery]
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, pageLimit)
	from, err := parseAfter(after)
	if err != nil {
		return page, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	lines, err := in.refusedOnes(ctx, forge)
	if err != nil {
		return page, fmt.Errorf("listing refused deliveries: %w", err)
	}
	lines = slices.DeleteFunc(lines, func(l line) bool { return newer(l, from) <= 0 })
	for s := range shard(shards) {
		found, err := in.linesAfter(ctx, s.ledger(forge), from, limit+1)
		if err != nil {
			return page, fmt.Errorf("listing deliveries: %w", err)
		}
		lines = append(lines, found...)
	}
	slices.SortFunc(lines, newer)
	if len(lines) > limit {
		lines = lines[:limit]
		page.Next = nextToken(lines[limit-1])
	}
	page.Items, err = in.deliveriesOf(ctx, lines)
	return page, err
}

// linesAfter are the next n members of one part's ledger.
func (in *Inbox) linesAfter(ctx context.Context, key string, from line, n int) ([]line, error) {
	var found []line
	for offset := 0; ; offset += n {
		got, err := in.rdb.ZRevRangeByScoreWithScores(ctx, key, &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(from.at, 10), Offset: int64(offset), Count: int64(n),
		}).Result()
		if err != nil {
			return nil, err
		}
		for _, z := range got {
			m, _ := z.Member.(string)
			if l := (line{at: int64(z.Score), member: m}); newer(l, from) > 0 && len(found) < n {
				found = append(found, l)
			}
		}
		if len(found) == n || len(got) < n {
			return found, nil
		}
	}
}

// deliveriesOf loads what lines name; what retention has taken meanwhile is
// left out.
func (in *Inbox) deliveriesOf(ctx context.Context, lines []line) ([]pipeline.Delivery, error) {
	answers := make([]*redis.SliceCmd, len(lines))
	_, err := in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, l := range lines {
			if l.delivery == nil {
				answers[i] = p.HMGet(ctx, shardOf(l.member).record(l.member), recordFields[:3]...)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("loading deliveries: %w", err)
	}
	var all []pipeline.Delivery
	for i, l := range lines {
		if l.delivery != nil {
			all = append(all, *l.delivery)
			continue
		}
		d, err := deliveryOf(answers[i].Val())
		if errors.Is(err, pipeline.ErrNotFound) || errors.Is(err, errNewer) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d.Body = nil
		all = append(all, d)
	}
	return all, nil
}

// refusedOnes are the refused deliveries of a forge.
func (in *Inbox) refusedOnes(ctx context.Context, forge string) ([]line, error) {
	got, err := in.rdb.XRevRangeN(ctx, refusedKey(), "+", "-", refusedLimit).Result()
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, m := range got {
		data, _ := m.Values["d"].(string)
		d := &pipeline.Delivery{}
		if err := json.Unmarshal([]byte(data), d); err != nil {
			return nil, fmt.Errorf("decoding a refused delivery: %w", err)
		}
		if forge == "" || d.Forge == forge {
			lines = append(lines, line{at: d.ReceivedAt.UnixMicro(), member: "refused " + m.ID, delivery: d})
		}
	}
	return lines, nil
}

func nextToken(l line) string {
	return strconv.FormatInt(l.at, 36) + "." + base64.RawURLEncoding.EncodeToString([]byte(l.member))
}

// parseAfter reads a page token; the empty one is before everything.
func parseAfter(token string) (line, error) {
	if token == "" {
		return line{at: 1<<53 - 1}, nil
	}
	at, rest, _ := strings.Cut(token, ".")
	n, err := strconv.ParseInt(at, 36, 64)
	m, err2 := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || err2 != nil {
		return line{}, &pipeline.UserError{Code: "INVALID_PAGE", Msg: "the page token is not one of this list"}
	}
	return line{at: n, member: string(m)}, nil
}

// replayDelivery queues a recorded delivery again.
//
//	KEYS  record, stream
//	ARGV  member
//	returns the attempt, or -1 if there is no record
var replayDelivery = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local n = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HDEL', KEYS[1], 'decision')
redis.call('XADD', KEYS[2], '*', 'k', 'delivery', 'v', ARGV[1], 'n', '0')
return n`)

// Replay queues a recorded delivery again as a new attempt, and answers with
// the attempt's number. ErrConflict: it was refused, so nobody knows who sent
// it. ErrNotFound: the ledger doesn't have it. by is for the log.
func (in *Inbox) Replay(ctx context.Context, forge, id, by string) (attempt int, err error) {
	m := member(forge, id)
	s := shardOf(m)
	n, err := in.durably(ctx, replayDelivery, []string{s.record(m), s.events()}, m)
	if err == nil && n < 0 {
		if _, err = in.refused(ctx, forge, id); err == nil {
			err = pipeline.ErrConflict
		}
	}
	if err != nil {
		return 0, fmt.Errorf("replaying delivery %s: %w", id, err)
	}
	in.log.InfoContext(ctx, "delivery replayed", "delivery", id, "attempt", n, "by", by)
	return int(n), nil
}
