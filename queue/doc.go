// Package queue carries events to orchestrators and jobs to workers over Redis
// Streams. Inbox takes webhook deliveries and events; Jobs hands one job to one
// worker under a lease. Everything is delivered at least once, and what fails
// too often ends in a list of dead letters. Several processes share the work.
//
// All keys of one shard of the Inbox, and of one class of Jobs, live in one
// Redis Cluster slot; no script or transaction touches two of them.
package queue
