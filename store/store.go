// Package store remembers in Redis: Boards with their executions and outboxes,
// the lists of executions, builds, timers, and what is to be reported. Every
// value is JSON with a version v; a server leaves what is newer than itself to
// a newer server.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// callTimeout bounds every call that does not wait for a change.
	callTimeout = 5 * time.Second
	// rememberEvents is how long a committed event's ID is refused.
	rememberEvents = 8 * 24 * time.Hour
	// version is what is written as v, and the newest that is read.
	version = 1
)

var (
	errSlow  = errors.New("redis did not answer in time")
	errNewer = errors.New("written by a newer version")
)

// Options are the settings of a Store. The zero value is the default.
type Options struct {
	// Keep is how long an ended execution and its builds are kept; 0 means 400
	// days.
	Keep time.Duration
	// KeepReports is how long reports stay in their groups' histories; 0 means 30
	// days.
	KeepReports time.Duration
}

// Store is the state in Redis. It is safe for concurrent use by any number of
// processes.
type Store struct {
	rdb  redis.UniversalClient
	keep time.Duration
	// keepReports is that of the histories of reports.
	keepReports time.Duration
	log         *slog.Logger
	// single: the server is no cluster, so a transaction may touch any keys.
	single bool
}

// New makes a Store over a client that the caller closes.
func New(rdb redis.UniversalClient, opts Options, log *slog.Logger) *Store {
	if opts.Keep == 0 {
		opts.Keep = 400 * 24 * time.Hour
	}
	if opts.KeepReports == 0 {
		opts.KeepReports = 30 * 24 * time.Hour // as CodeBuild keeps them (reference 6.2)
	}
	_, cluster := rdb.(*redis.ClusterClient)
	return &Store{rdb: rdb, keep: opts.Keep, keepReports: opts.KeepReports, log: log, single: !cluster}
}

func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, callTimeout, errSlow)
}

// run calls one script.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	ctx, cancel := limited(ctx)
	defer cancel()
	return script.Run(ctx, s.rdb, keys, args...)
}

// publish tells those who listen. Listeners look by themselves now and then,
// so that a message may be lost.
func (s *Store) publish(ctx context.Context, channel, message string) {
	ctx, cancel := limited(ctx)
	defer cancel()
	if err := s.rdb.Publish(ctx, channel, message).Err(); err != nil {
		s.log.WarnContext(ctx, "a change was not announced", "error", err)
	}
}

// wait returns when something is published on the channel, after at most
// fallback, or when ctx ends.
func (s *Store) wait(ctx context.Context, channel string, fallback time.Duration, changed func(context.Context) (bool, error)) error {
	sub := s.rdb.Subscribe(ctx, channel)
	defer func() { _ = sub.Close() }() // nothing is lost with it
	// A call that waits for an answer doesn't see that ctx is over.
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	ctx, cancel := context.WithTimeout(ctx, fallback)
	defer cancel()
	// What changed before the subscription began is not announced again.
	if _, err := sub.Receive(ctx); err != nil {
		return waited(ctx, err)
	}
	if so, err := changed(ctx); so || err != nil {
		return err
	}
	_, err := sub.ReceiveMessage(ctx)
	return waited(ctx, err)
}

// waited turns the end of the waiting time into no error. The connection's own
// deadline may come a moment before the context's.
func waited(ctx context.Context, err error) error {
	var network net.Error
	if err == nil || ctx.Err() != nil || errors.As(err, &network) && network.Timeout() {
		return nil
	}
	return fmt.Errorf("waiting for a change: %w", err)
}

// Changes sends the IDs of executions and builds as they change, until ctx
// ends; then it closes the channel. Some may be missing: it is for pages that
// look again, not for state.
func (s *Store) Changes(ctx context.Context) <-chan string {
	changes := make(chan string, 64)
	sub := s.rdb.Subscribe(ctx, changesChannel())
	go func() {
		defer close(changes)
		defer func() { _ = sub.Close() }() // nothing is lost with it
		messages := sub.Channel()
		for {
			select {
			case <-ctx.Done():
				return
			case m, ok := <-messages:
				if !ok {
					return
				}
				select {
				case changes <- m.Payload:
				default: // a slow reader misses some
				}
			}
		}
	}()
	return changes
}
