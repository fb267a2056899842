package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// deploymentKeys are the keys of one deployment.
type deploymentKeys string

func (k deploymentKeys) base() string { return "slipway:{d:" + string(k) + "}:" }

// record is a hash: version, json.
func (k deploymentKeys) record() string { return k.base() + "record" }

// leases is a hash: agent -> fencing token ":" end of its lease in ms, and
// stopField -> why the deployment is being stopped.
func (k deploymentKeys) leases() string { return k.base() + "leases" }

// The lists of deployments are sorted sets of IDs by creation in us.
func deploymentsKey() string { return "slipway:{deployments}:all" }
func deploymentsOfKey(group string) string {
	return "slipway:{deployments}:group:" + group
}

// aliasesKey is a hash: ID of a job -> the deployment that it went on with.
func aliasesKey() string { return "slipway:{deployments}:aliases" }

// saveDeployment replaces a deployment.
//
//	KEYS  record, leases
//	ARGV  version that it must have (0: it must not exist), JSON, ms to keep it,
//	      then pairs of agent and lease ('': none)
//	returns 1, or 0 if somebody else was first
var saveDeployment = redis.NewScript(`
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1] + 1, 'json', ARGV[2])
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[i])
  else redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1`)

// SaveDeployment replaces a deployment that is at the version; 0 makes it.
// ErrConflict: it is at another one. Agents whose fencing token is not the one
// of before, which may be the zero Deployment, get a new lease, and those that
// ended lose theirs.
func (s *Store) SaveDeployment(ctx context.Context, d, before pipeline.Deployment, at int64, now time.Time) error {
	d.V = version
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding deployment %s: %w", d.ID, err)
	}
	k := deploymentKeys(d.ID)
	args := append([]any{at, data, s.keep.Milliseconds()}, leaseChanges(d, before, now)...)
	if at == 0 {
		if err := s.listDeployment(ctx, d); err != nil {
			return err
		}
	}
	n, err := s.run(ctx, saveDeployment, []string{k.record(), k.leases()}, args...).Int()
	if err == nil && n == 0 {
		err = pipeline.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("saving deployment %s: %w", d.ID, err)
	}
	s.publish(ctx, changesChannel(), d.ID)
	return nil
}

// stopField can't be the name of an agent.
const stopField = "!stop"

func leaseChanges(d, before pipeline.Deployment, now time.Time) []any {
	var args []any
	if d.StopReason != before.StopReason {
		args = append(args, stopField, d.StopReason)
	}
	for _, i := range d.Instances {
		var fence int64
		if was := before.Instance(i.Agent); was != nil {
			fence = was.Fence
		}
		switch {
		case i.Status != pipeline.DeploymentInProgress:
			args = append(args, i.Agent, "")
		case i.Fence != fence:
			args = append(args, i.Agent, lease(i.Fence, now.Add(d.Lease)))
		}
	}
	return args
}

func lease(fence int64, until time.Time) string {
	return strconv.FormatInt(fence, 10) + ":" + strconv.FormatInt(until.UnixMilli(), 10)
}

// listDeployment comes before the deployment itself, so that none is missing
// from the lists.
func (s *Store) listDeployment(ctx context.Context, d pipeline.Deployment) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	oldest := strconv.FormatInt(d.CreatedAt.Add(-s.keep).UnixMicro(), 10)
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range []string{deploymentsKey(), deploymentsOfKey(d.Group)} {
			p.ZAddNX(ctx, key, redis.Z{Score: float64(d.CreatedAt.UnixMicro()), Member: d.ID})
			p.ZRemRangeByScore(ctx, key, "-inf", oldest)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing deployment %s: %w", d.ID, err)
	}
	return nil
}

// Deployment is a deployment and its version. The ID may also be that of a job
// that went on with it. ErrNotFound: there is none.
func (s *Store) Deployment(ctx context.Context, id string) (pipeline.Deployment, int64, error) {
	d, at, err := s.deployment(ctx, id)
	if !errors.Is(err, pipeline.ErrNotFound) {
		return d, at, err
	}
	lookup, cancel := limited(ctx)
	defer cancel()
	other, aliasErr := s.rdb.HGet(lookup, aliasesKey(), id).Result()
	if errors.Is(aliasErr, redis.Nil) {
		return d, at, err
	}
	if aliasErr != nil {
		return d, at, fmt.Errorf("loading deployment %s: %w", id, aliasErr)
	}
	return s.deployment(ctx, other)
}

func (s *Store) deployment(ctx context.Context, id string) (pipeline.Deployment, int64, error) {
	var d pipeline.Deployment
	ctx, cancel := limited(ctx)
	defer cancel()
	got, err := s.rdb.HMGet(ctx, deploymentKeys(id).record(), "version", "json").Result()
	if err == nil && (len(got) != 2 || got[0] == nil || got[1] == nil) {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return d, 0, fmt.Errorf("loading deployment %s: %w", id, err)
	}
	count, _ := got[0].(string)
	data, _ := got[1].(string)
	at, err := strconv.ParseInt(count, 10, 64)
	if err == nil {
		err = json.Unmarshal([]byte(data), &d)
	}
	if err == nil && d.V > version {
		err = errNewer
	}
	if err != nil {
		return pipeline.Deployment{}, 0, fmt.Errorf("decoding deployment %s: %w", id, err)
	}
	return d, at, nil
}

// AliasDeployment lets a deployment be found by the ID of another job, too.
func (s *Store) AliasDeployment(ctx context.Context, job, id string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("noting another name of a deployment", s.rdb.HSet(ctx, aliasesKey(), job, id).Err())
}

// Deployments lists deployments, the newest first. A page may have fewer items
// than the limit and still not be the last: only an empty Next says so.
func (s *Store) Deployments(ctx context.Context, q pipeline.DeploymentQuery) (pipeline.Page[pipeline.Deployment], error) {
	var page pipeline.Page[pipeline.Deployment]
	if q.Limit <= 0 {
		q.Limit = 50
	}
	q.Limit = min(q.Limit, 200)
	from, err := parseAfter(q.After)
	if err != nil {
		return page, err
	}
	key := deploymentsKey()
	if q.Group != "" {
		key = deploymentsOfKey(q.Group)
	}
	for seen := 0; seen < scanLimit; {
		places, err := s.places(ctx, key, from, q.Limit+1)
		if err != nil {
			return page, fmt.Errorf("listing deployments: %w", err)
		}
		for _, p := range places {
			if len(page.Items) == q.Limit {
				page.Next = from.token()
				return page, nil
			}
			from = p
			d, _, err := s.deployment(ctx, p.id)
			if errors.Is(err, pipeline.ErrNotFound) || errors.Is(err, errNewer) {
				continue
			}
			if err != nil {
				return page, err
			}
			if q.Status == "" || q.Status == d.Status {
				page.Items = append(page.Items, d)
			}
		}
		if len(places) <= q.Limit {
			return page, nil
		}
		seen += len(places)
	}
	page.Next = from.token()
	return page, nil
}

// touchLease extends an agent's lease.
//
//	KEYS  leases
//	ARGV  agent, fencing token, end of the lease in ms
//	returns {why it is to be stopped, '' if it isn't}, or {} if the token isn't
//	the agent's
var touchLease = redis.NewScript(`
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or string.match(held, '^(%d+):') ~= ARGV[2] then return {} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[3])
return {redis.call('HGET', KEYS[1], ARGV[4]) or ''}`)

// TouchInstance extends the lease of an agent's part of a deployment, and says
// why it is to be stopped, if it is. ErrStale: it is no longer that process' of
// the agent.
func (s *Store) TouchInstance(ctx context.Context, id, agent string, fence int64, until time.Time) (stop string, err error) {
	got, err := s.run(ctx, touchLease, []string{deploymentKeys(id).leases()}, agent, fence, until.UnixMilli(), stopField).StringSlice()
	if err == nil && len(got) == 0 {
		err = pipeline.ErrStale
	}
	if err != nil {
		return "", fmt.Errorf("renewing the part of %s in deployment %s: %w", agent, id, err)
	}
	return got[0], nil
}

// InstanceLeases are until when the agents of a deployment may be silent.
func (s *Store) InstanceLeases(ctx context.Context, id string) (map[string]time.Time, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	got, err := s.rdb.HGetAll(ctx, deploymentKeys(id).leases()).Result()
	if err != nil {
		return nil, fmt.Errorf("loading the leases of deployment %s: %w", id, err)
	}
	leases := make(map[string]time.Time, len(got))
	for agent, held := range got {
		if agent == stopField {
			continue
		}
		_, until, _ := strings.Cut(held, ":")
		ms, err := strconv.ParseInt(until, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("decoding the lease of %s in deployment %s: %w", agent, id, err)
		}
		leases[agent] = time.UnixMilli(ms)
	}
	return leases, nil
}
