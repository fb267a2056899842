package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// groupKeys are the keys of one deployment group.
type groupKeys string

func (k groupKeys) base() string { return "slipway:{group:" + string(k) + "}:" }

// state is a hash: active (ID of the deployment that runs), good (the last
// deployment that succeeded, as JSON), and h:<agent> -> what is known of its
// instance, as JSON.
func (k groupKeys) state() string { return k.base() + "state" }

// waiting is a list of IDs of deployments, the next one first.
func (k groupKeys) waiting() string { return k.base() + "waiting" }

// beginNext makes a waiting deployment the active one, or the given one.
//
//	KEYS  state, waiting
//	ARGV  ID of the deployment to make active; '' takes the next waiting one
//	returns the ID of the active deployment, '' if there is none
var beginNext = redis.NewScript(`
local active = redis.call('HGET', KEYS[1], 'active')
if active and active ~= '' then return active end
local id = ARGV[1]
if id == '' then id = redis.call('LPOP', KEYS[2]) or '' end
if id ~= '' then redis.call('HSET', KEYS[1], 'active', id) end
return id`)

// ActiveDeployment is the ID of the deployment that runs in a group. Where none
// does, next becomes it, or the first that waits if next is empty; "" if none.
func (s *Store) ActiveDeployment(ctx context.Context, group, next string) (string, error) {
	k := groupKeys(group)
	id, err := s.run(ctx, beginNext, []string{k.state(), k.waiting()}, next).Text()
	if err != nil {
		return "", fmt.Errorf("finding the active deployment of %s: %w", group, err)
	}
	return id, nil
}

// endActive ends a group's active deployment.
//
//	KEYS  state, waiting
//	ARGV  its ID, the ID of one that is to be next ('': none), good as JSON ('':
//	      as it was), pairs of agent and what is known of it
//	returns 1, or 0 if another one is active
var endActive = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'active') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'active')
if ARGV[2] ~= '' then redis.call('LPUSH', KEYS[2], ARGV[2]) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'good', ARGV[3]) end
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], 'h:' .. ARGV[i], ARGV[i + 1]) end
return 1`)

// EndActiveDeployment notes the end of a group's active deployment: what is
// known of its instances, whether it is the last good one, and which one
// follows at once, if next isn't empty. A repeat changes nothing.
func (s *Store) EndActiveDeployment(ctx context.Context, d pipeline.Deployment, next string, health map[string]any) error {
	good := ""
	if d.Status == pipeline.DeploymentSucceeded {
		data, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encoding deployment %s: %w", d.ID, err)
		}
		good = string(data)
	}
	args := []any{d.ID, next, good}
	for agent, h := range health {
		data, err := json.Marshal(h)
		if err != nil {
			return fmt.Errorf("encoding the health of %s: %w", agent, err)
		}
		args = append(args, agent, data)
	}
	k := groupKeys(d.Group)
	if err := s.run(ctx, endActive, []string{k.state(), k.waiting()}, args...).Err(); err != nil {
		return fmt.Errorf("ending deployment %s: %w", d.ID, err)
	}
	return nil
}

// QueueDeployment lets a deployment wait for its group. A repeat may queue it
// twice: whoever takes it looks whether it has ended.
func (s *Store) QueueDeployment(ctx context.Context, group, id string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("queueing deployment "+id, s.rdb.RPush(ctx, groupKeys(group).waiting(), id).Err())
}

// GroupState is what a group's past says: its last good deployment, nil if
// there is none, and what is known of its instances, as it was given.
func (s *Store) GroupState(ctx context.Context, group string) (good *pipeline.Deployment, health map[string]json.RawMessage, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	got, err := s.rdb.HGetAll(ctx, groupKeys(group).state()).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("loading the state of group %s: %w", group, err)
	}
	health = map[string]json.RawMessage{}
	for field, value := range got {
		if agent, ok := strings.CutPrefix(field, "h:"); ok {
			health[agent] = json.RawMessage(value)
		}
	}
	if got["good"] != "" {
		good = &pipeline.Deployment{}
		if err := json.Unmarshal([]byte(got["good"]), good); err != nil {
			return nil, nil, fmt.Errorf("decoding the last good deployment of %s: %w", group, err)
		}
	}
	return good, health, nil
}

// offersKey is a set of the IDs of deployments that an agent has a part in.
func offersKey(agent string) string { return "slipway:{offers:" + agent + "}:deployments" }

// fleetChannel says which agent, or which group ("group:" and its name), has
// something new.
func fleetChannel() string { return "slipway:fleet" }

// Offer lets agents know that they have a part in a deployment. It may be
// repeated.
func (s *Store) Offer(ctx context.Context, id string, agents []string) error {
	for _, a := range agents {
		if err := s.offer(ctx, id, a); err != nil {
			return fmt.Errorf("offering deployment %s to %s: %w", id, a, err)
		}
	}
	return nil
}

func (s *Store) offer(ctx context.Context, id, agent string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	n, err := s.rdb.SAdd(ctx, offersKey(agent), id).Result()
	if err == nil && n > 0 {
		s.publish(ctx, fleetChannel(), agent)
	}
	return err
}

// Offers are the IDs of the deployments that an agent may have a part in.
func (s *Store) Offers(ctx context.Context, agent string) ([]string, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	ids, err := s.rdb.SMembers(ctx, offersKey(agent)).Result()
	return ids, wrapped("looking for the deployments of "+agent, err)
}

// DropOffer forgets that an agent has a part in a deployment.
func (s *Store) DropOffer(ctx context.Context, id, agent string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("dropping an offer to "+agent, s.rdb.SRem(ctx, offersKey(agent), id).Err())
}

// WakeGroup tells whoever coordinates a group's deployments to look.
func (s *Store) WakeGroup(ctx context.Context, group string) {
	s.publish(ctx, fleetChannel(), "group:"+group)
}

// FleetNews sends the names of agents, and of groups behind "group:", as there
// is something new for them, until ctx ends. Some may be missing.
func (s *Store) FleetNews(ctx context.Context, tell func(name string)) {
	sub := s.rdb.Subscribe(ctx, fleetChannel())
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
			tell(m.Payload)
		}
	}
}

// isNil reports whether Redis had nothing at a key.
func isNil(err error) bool { return errors.Is(err, redis.Nil) }
