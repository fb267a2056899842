package queue

import (
	"hash/fnv"
	"strconv"
)

// class names the keys of one class of jobs. The braces put them into one
// Redis Cluster slot. Scripts derive the keys that depend on a job from base;
// jobs.lua lists them.
type class string

func (c class) base() string   { return "slipway:{q:" + string(c) + "}:" }
func (c class) stream() string { return c.base() + "stream" }

// classesKey is a set: every class that a job or a worker was seen for.
func classesKey() string { return "slipway:{classes}:known" }

// workersKey is a hash from worker ID to what is known of the worker as JSON.
func workersKey() string { return "slipway:{workers}:known" }

// workersSeenKey is a sorted set of worker IDs by when they were last seen, in
// milliseconds.
func workersSeenKey() string { return "slipway:{workers}:seen" }

// shards is how many parts the Inbox has.
const shards = 16

// shard names the keys of one part of the Inbox, all in one Redis Cluster slot.
type shard int

func shardOf(parts ...string) shard {
	h := fnv.New32a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return shard(h.Sum32() % shards)
}

func (s shard) base() string { return "slipway:{in:" + strconv.Itoa(int(s)) + "}:" }

// events is the stream; an entry has the fields k ("delivery" or "event"), v
// (the delivery's member, or the event as JSON), n (failed attempts so far).
func (s shard) events() string { return s.base() + "events" }

// dead is a stream like events, with the fields why and at.
func (s shard) dead() string { return s.base() + "dead" }

// retries is a sorted set of entry IDs by when they are due, in milliseconds;
// what they hold is in the hash retriesData.
func (s shard) retries() string     { return s.base() + "retries" }
func (s shard) retriesData() string { return s.base() + "retries:data" }

// seen is the mark of a delivery that was received.
func (s shard) seen(member string) string { return s.base() + "seen:" + member }

// keyed is the digest of the contents of an event whose sender chose its ID.
func (s shard) keyed(event string) string { return s.base() + "keyed:" + event }

// record is a hash: head (the delivery as JSON without its body), body or zbody
// (zstd), decision, attempt.
func (s shard) record(member string) string { return s.recordBase() + member }
func (s shard) recordBase() string          { return s.base() + "delivery:" }

// ledger is a sorted set of members by arrival in microseconds; for one forge,
// or for all with the empty name.
func (s shard) ledger(forge string) string { return s.base() + "ledger:" + forge }

// refusedKey is a stream of the deliveries that were turned away; its entries
// have one field, d, the delivery as JSON.
func refusedKey() string { return "slipway:{refused}:deliveries" }

// member names a delivery within a shard. Forge names hold no slash.
func member(forge, id string) string { return forge + "/" + id }
