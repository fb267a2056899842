package queue

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// callTimeout bounds every call that does not wait for work.
const callTimeout = 5 * time.Second

// errSlow is why a call was given up.
var errSlow = errors.New("redis did not answer in time")

// limited gives one call its time limit.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, callTimeout, errSlow)
}

// Open makes a client for redis://, rediss:// and unix:// addresses, as go-redis
// spells them, and with "+cluster" after the scheme for a Redis Cluster. It
// connects on first use. The caller closes it.
func Open(address string) (redis.UniversalClient, error) {
	redis.SetLogger(silent{})
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		return nil, errors.New("redis address: want redis://, rediss:// or unix://")
	}
	plain, cluster := strings.CutSuffix(scheme, "+cluster")
	if cluster {
		opts, err := redis.ParseClusterURL(plain + "://" + rest)
		if err != nil {
			return nil, fmt.Errorf("redis address: %w", withoutURL(err))
		}
		opts.ContextTimeoutEnabled, opts.MaintNotificationsConfig = true, unnoticed()
		return redis.NewClusterClient(opts), nil
	}
	opts, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("redis address: %w", withoutURL(err))
	}
	opts.ContextTimeoutEnabled, opts.MaintNotificationsConfig = true, unnoticed()
	return redis.NewClient(opts), nil
}

// unnoticed turns the hosted services' maintenance notices off: two clients
// that share options, as ours do, can't both take them.
func unnoticed() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// silent takes what the library would print to standard error by itself, past
// our log and its mask. Every such trouble also comes back as an error.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// withoutURL drops the address from a parser's error: it may hold a password.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// blockingConnections bounds the connections that wait for work at a time.
const blockingConnections = 4096

// blocking is a second client of the same server for calls that block, so that
// they never take the connections that other calls need. It is not retried by
// itself: an entry that was delivered into a lost answer is taken over.
func blocking(rdb redis.UniversalClient) redis.UniversalClient {
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		opts := *c.Options()
		opts.PoolSize, opts.MinIdleConns, opts.MaxRetries = blockingConnections, 0, -1
		return redis.NewClusterClient(&opts)
	case *redis.Client:
		opts := *c.Options()
		opts.PoolSize, opts.MinIdleConns, opts.MaxRetries = blockingConnections, 0, -1
		return redis.NewClient(&opts)
	}
	return rdb
}

// closeBlocking closes what blocking made.
func closeBlocking(own, rdb redis.UniversalClient) error {
	if own == rdb {
		return nil
	}
	return own.Close()
}

// readOne waits up to wait for the next entry of a stream that nobody in the
// group has. redis.Nil: none came.
func readOne(ctx context.Context, rdb redis.UniversalClient, stream, group, consumer string, wait time.Duration) (redis.XMessage, error) {
	got, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: consumer, Streams: []string{stream, ">"}, Count: 1, Block: max(wait, time.Millisecond),
	}).Result()
	if err != nil {
		return redis.XMessage{}, err
	}
	if len(got) == 0 || len(got[0].Messages) == 0 {
		return redis.XMessage{}, redis.Nil
	}
	return got[0].Messages[0], nil
}

func isNoGroup(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "NOGROUP")
}
