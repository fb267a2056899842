package store

import (
	"strconv"

	"github.com/slipway-ci/slipway/pipeline"
)

// Every key has one function here. What is between braces puts keys into one
// Redis Cluster slot; no script or transaction touches two slots, except for a
// transaction on a server that isn't a cluster (see Commit).

// boardKeys are the keys of one Board.
type boardKeys string

func (k boardKeys) base() string { return "slipway:{" + string(k) + "}:" }

// board is a hash: version, head (the Board as JSON), and x:<ID> for each live
// execution as JSON.
func (k boardKeys) board() string { return k.base() + "board" }

// consumed is a sorted set of the IDs of committed events, by time in ms.
func (k boardKeys) consumed() string { return k.base() + "consumed" }

// outbox is a stream; an entry has one field, e, the effect as JSON.
func (k boardKeys) outbox() string { return k.base() + "outbox" }

// execution is an ended execution as JSON.
func (k boardKeys) execution(id string) string { return k.base() + "x:" + id }

// liveField is the field of a live execution in the hash board.
func liveField(id string) string { return "x:" + id }

// dirtyKey is a sorted set of Boards whose outbox may not be empty, by when
// that was noted, in ms.
func dirtyKey() string { return "slipway:{relay}:dirty" }

// indexKeys: all lists of executions are in one slot.
const indexBase = "slipway:{index}:"

// summaryKey is a hash: revision, summary (as JSON), status.
func summaryKey(id string) string { return indexBase + "x:" + id }

// The lists are sorted sets of execution IDs by creation in us.
// boardsKey is a sorted set of the keys of Boards by when an execution of
// theirs was indexed last, in us.
func boardsKey() string { return indexBase + "boards" }

// reportsKey is a sorted set of report groups, each as reportMember writes it,
// by when something was reported last, in us.
func reportsKey() string { return indexBase + "reports" }

func listAllKey() string                 { return indexBase + "all" }
func listForgeKey(forge string) string   { return indexBase + "forge:" + forge }
func listRepoKey(repo string) string     { return indexBase + "repo:" + repo }
func listSHAKey(prefix string) string    { return indexBase + "sha:" + prefix }
func listStatusKey(status string) string { return indexBase + "status:" + status }

// buildKey is a hash: json, ended (when it has).
func buildKey(id string) string { return "slipway:{build:" + id + "}:build" }

// lookupKey is the key of an execution's Board.
func lookupKey(execution string) string { return "slipway:{x:" + execution + "}:board" }

// buildsKey is a set of the IDs of an execution's builds.
func buildsKey(execution string) string { return "slipway:{x:" + execution + "}:builds" }

// reportStateKey is what was reported of an execution.
func reportStateKey(execution, kind string) string {
	return "slipway:{x:" + execution + "}:report:" + kind
}

// deadMessagesKey is a stream; each entry has one field, "v", which holds JSON.
func deadMessagesKey() string { return "slipway:{messages}:dead" }

// timersKey is a sorted set of event IDs by when they are due, in ms; the
// events are in the hash timersDataKey.
func timersKey() string     { return "slipway:{timers}:due" }
func timersDataKey() string { return "slipway:{timers}:events" }

// leaseKey holds the token of a lease's holder.
func leaseKey(name string) string { return "slipway:{lease:" + name + "}:holder" }

// fenceKey counts the holders that a lease has had.
func fenceKey(name string) string { return "slipway:{lease:" + name + "}:fence" }

// reportKeys are the keys of one forge's reports.
type reportKeys string

func (k reportKeys) base() string { return "slipway:{reports:" + string(k) + "}:" }

// installations is a sorted set of installations by when their first item is
// due, in ms.
func (k reportKeys) installations() string { return k.base() + "installations" }

// due is a sorted set of executions by when they are due, in ms.
func (k reportKeys) due(installation int64) string {
	return k.dueBase() + strconv.FormatInt(installation, 10)
}
func (k reportKeys) dueBase() string { return k.base() + "due:" }

// marks is a hash: <installation>/<execution> -> how often it was marked.
func (k reportKeys) marks() string { return k.base() + "marks" }

// claims is a hash: <installation>/<execution> -> the claim that holds it.
func (k reportKeys) claims() string { return k.base() + "claims" }

// reportsChannel and changesChannel are for publishing.
func (k reportKeys) channel() string { return k.base() + "wake" }
func changesChannel() string         { return "slipway:changes" }

// logKeys are the keys of one live log.
type logKeys string

func (k logKeys) base() string { return "slipway:{log:" + string(k) + "}:" }

// state is a hash: token, start (of the tail), lines (before it), length,
// sealed.
func (k logKeys) state() string { return k.base() + "state" }

// tail is the bytes from start on.
func (k logKeys) tail() string { return k.base() + "tail" }

// chunks is a list of what is in the blob store, each as JSON.
func (k logKeys) chunks() string { return k.base() + "chunks" }

func (k logKeys) channel() string { return k.base() + "grew" }

// removalKey is there while an object of the blob store may be removed.
func removalKey(object string) string { return "slipway:{removal:" + object + "}:pending" }

// debugKeys are the keys of a build's debugging session.
type debugKeys string

func (k debugKeys) base() string { return "slipway:{debug:" + string(k) + "}:" }

// session is the session as JSON.
func (k debugKeys) session() string { return k.base() + "session" }

// frames is a stream; an entry has one field, v, a frame as JSON.
func (k debugKeys) frames(side pipeline.DebugSide) string { return k.base() + string(side) }

// watched is there while the person asks now and then.
func (k debugKeys) watched() string { return k.base() + "watched" }

func (k debugKeys) channel(side pipeline.DebugSide) string { return k.base() + "said:" + string(side) }
