package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// saveBuild replaces what is known of a build, unless it has ended and the new
// state has not.
//
//	KEYS  build
//	ARGV  build as JSON, 1 if it has ended, ms to keep it
//	returns 1, or 0 if it has ended
var saveBuild = redis.NewScript(`
if ARGV[2] ~= '1' and redis.call('HGET', KEYS[1], 'ended') == '1' then return 0 end
redis.call('HSET', KEYS[1], 'json', ARGV[1], 'ended', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`)

// SaveBuild replaces what is known of a build. A build that has ended stays so:
// a late report of its phases changes nothing.
func (s *Store) SaveBuild(ctx context.Context, b pipeline.Build) error {
	b.V = version
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encoding build %s: %w", b.ID, err)
	}
	ended := "0"
	if b.Status.Ended() {
		ended = "1"
	}
	if b.Execution != "" {
		if err := s.addToExecution(ctx, b); err != nil {
			return err
		}
	}
	n, err := s.run(ctx, saveBuild, []string{buildKey(b.ID)}, data, ended, s.keep.Milliseconds()).Int()
	if err != nil {
		return fmt.Errorf("saving build %s: %w", b.ID, err)
	}
	if n == 1 {
		s.publish(ctx, changesChannel(), b.ID)
	}
	return nil
}

// addToExecution comes before the build itself, so that none is missing from
// its execution's list.
func (s *Store) addToExecution(ctx context.Context, b pipeline.Build) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SAdd(ctx, buildsKey(b.Execution), b.ID)
		p.PExpire(ctx, buildsKey(b.Execution), s.keep)
		return nil
	})
	if err != nil {
		return fmt.Errorf("adding build %s to its execution: %w", b.ID, err)
	}
	return nil
}

// Build is what is known of a build or deployment. ErrNotFound: nothing.
func (s *Store) Build(ctx context.Context, id string) (pipeline.Build, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	data, err := s.rdb.HGet(ctx, buildKey(id), "json").Result()
	if errors.Is(err, redis.Nil) {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return pipeline.Build{}, fmt.Errorf("loading build %s: %w", id, err)
	}
	var b pipeline.Build
	if err := json.Unmarshal([]byte(data), &b); err != nil {
		return b, fmt.Errorf("decoding build %s: %w", id, err)
	}
	if b.V > version {
		return pipeline.Build{}, fmt.Errorf("build %s: %w", id, errNewer)
	}
	return b, nil
}

// Builds are the builds and deployments of an execution, the oldest first.
func (s *Store) Builds(ctx context.Context, execution string) ([]pipeline.Build, error) {
	ids, err := s.buildIDs(ctx, execution)
	if err != nil {
		return nil, fmt.Errorf("listing the builds of %s: %w", execution, err)
	}
	var all []pipeline.Build
	for _, id := range ids {
		b, err := s.Build(ctx, id)
		if errors.Is(err, pipeline.ErrNotFound) {
			continue // not saved yet, or gone
		}
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b pipeline.Build) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, nil
}

func (s *Store) buildIDs(ctx context.Context, execution string) ([]string, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return s.rdb.SMembers(ctx, buildsKey(execution)).Result()
}
