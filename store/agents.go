package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// All keys of agents are in one slot.
const agentsBase = "slipway:{agents}:"

// agentsKey is a hash: name -> JSON.
func agentsKey() string { return agentsBase + "names" }

// agentTokensKey is a hash: SHA-256 of a token, in hex -> name.
func agentTokensKey() string { return agentsBase + "tokens" }

// agentsSeenKey is a hash: name -> when it was last heard of, in ms.
func agentsSeenKey() string { return agentsBase + "seen" }

// registrationKey holds what a one-time registration token is good for.
func registrationKey(sum string) string { return agentsBase + "registration:" + sum }

// AddRegistration makes a one-time token, of which only the sum is known,
// valid for ttl. An agent that registers with it has the tags.
func (s *Store) AddRegistration(ctx context.Context, sum string, tags map[string]string, ttl time.Duration) error {
	data, err := json.Marshal(struct {
		V    int               `json:"v"`
		Tags map[string]string `json:"tags"`
	}{version, tags})
	if err != nil {
		return err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("keeping a registration token", s.rdb.Set(ctx, registrationKey(sum), data, ttl).Err())
}

// Registration are the tags that a registration token gives. ErrNotFound: it
// is none, was used, or is too old.
func (s *Store) Registration(ctx context.Context, sum string) (map[string]string, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	data, err := s.rdb.Get(ctx, registrationKey(sum)).Bytes()
	if isNil(err) {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return nil, wrapped("looking up a registration token", err)
	}
	var r struct {
		Tags map[string]string `json:"tags"`
	}
	return r.Tags, wrapped("decoding a registration token", json.Unmarshal(data, &r))
}

// addAgent registers an agent. What it did before it does again: the answer
// may have been lost.
//
//	KEYS  names, tokens, registration
//	ARGV  name, agent as JSON, sum of its token
//	returns 1; 0: the name is another one's; -1: the registration is no longer good
var addAgent = redis.NewScript(`
if redis.call('HGET', KEYS[2], ARGV[3]) == ARGV[1] then return 1 end
if redis.call('EXISTS', KEYS[3]) == 0 then return -1 end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[1])
return 1`)

// AddAgent registers an agent by a registration token and forgets the token.
// Of both tokens only the sums are known. ErrConflict: the name is taken;
// ErrNotFound: the registration token is not good, any more.
func (s *Store) AddAgent(ctx context.Context, a pipeline.Agent, tokenSum, registrationSum string) error {
	data, err := encodeAgent(a)
	if err != nil {
		return err
	}
	n, err := s.run(ctx, addAgent, []string{agentsKey(), agentTokensKey(), registrationKey(registrationSum)}, a.Name, data, tokenSum).Int()
	switch {
	case err != nil:
	case n == 0:
		err = pipeline.ErrConflict
	case n < 0:
		err = pipeline.ErrNotFound
	}
	return wrapped("registering agent "+a.Name, err)
}

func encodeAgent(a pipeline.Agent) ([]byte, error) {
	a.V, a.SeenAt, a.Online = version, time.Time{}, false
	data, err := json.Marshal(a)
	return data, wrapped("encoding agent "+a.Name, err)
}

// SaveAgent makes or replaces an agent that needs no token.
func (s *Store) SaveAgent(ctx context.Context, a pipeline.Agent) error {
	data, err := encodeAgent(a)
	if err != nil {
		return err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("saving agent "+a.Name, s.rdb.HSet(ctx, agentsKey(), a.Name, data).Err())
}

// removeAgent revokes an agent.
//
//	KEYS  names, tokens, seen
//	ARGV  name
//	returns 1, or 0 if there is none
var removeAgent = redis.NewScript(`
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  if all[i + 1] == ARGV[1] then redis.call('HDEL', KEYS[2], all[i]) end
end
redis.call('HDEL', KEYS[3], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])`)

// RemoveAgent revokes an agent: its token is worth nothing from now on.
// ErrNotFound: there is none of that name.
func (s *Store) RemoveAgent(ctx context.Context, name string) error {
	n, err := s.run(ctx, removeAgent, []string{agentsKey(), agentTokensKey(), agentsSeenKey()}, name).Int()
	if err == nil && n == 0 {
		err = pipeline.ErrNotFound
	}
	return wrapped("removing agent "+name, err)
}

// AgentOf is whose token has this sum. ErrNotFound: nobody's.
func (s *Store) AgentOf(ctx context.Context, tokenSum string) (string, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	name, err := s.rdb.HGet(ctx, agentTokensKey(), tokenSum).Result()
	if isNil(err) {
		err = pipeline.ErrNotFound
	}
	return name, wrapped("looking up an agent's token", err)
}

// SawAgent notes that an agent was heard of.
func (s *Store) SawAgent(ctx context.Context, name string, at time.Time) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("noting agent "+name, s.rdb.HSet(ctx, agentsSeenKey(), name, at.UnixMilli()).Err())
}

// Agents are all agents by name.
func (s *Store) Agents(ctx context.Context) ([]pipeline.Agent, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var names, seen *redis.MapStringStringCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		names, seen = p.HGetAll(ctx, agentsKey()), p.HGetAll(ctx, agentsSeenKey())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing agents: %w", err)
	}
	all := []pipeline.Agent{}
	for name, data := range names.Val() {
		var a pipeline.Agent
		if err := json.Unmarshal([]byte(data), &a); err != nil {
			return nil, fmt.Errorf("decoding agent %s: %w", name, err)
		}
		if ms, err := strconv.ParseInt(seen.Val()[name], 10, 64); err == nil {
			a.SeenAt = time.UnixMilli(ms).UTC()
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b pipeline.Agent) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}
