package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// noteEvery is how often this process repeats what it noted in Redis; the notes
// outlive a loss of Redis's data by no more.
const noteEvery = 5 * time.Second

// forgetWorkers is how long a worker is listed that was not heard of.
const forgetWorkers = 10 * time.Minute

// notes remembers what was noted lately.
type notes struct {
	mu sync.Mutex
	at map[string]time.Time
}

// due says whether what was not noted within noteEvery, and notes it.
func (n *notes) due(what string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if now.Sub(n.at[what]) < noteEvery {
		return false
	}
	if len(n.at) > 10_000 {
		clear(n.at)
	}
	n.at[what] = now
	return true
}

// drop makes what due again.
func (n *notes) drop(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.at, what)
}

// noteClass makes a class known to sweepers, before anything is in it.
func (j *Jobs) noteClass(ctx context.Context, names ...string) error {
	for _, name := range names {
		if !j.noted.due("class " + name) {
			continue
		}
		ctx, cancel := limited(ctx)
		err := j.rdb.SAdd(ctx, classesKey(), name).Err()
		cancel()
		if err != nil {
			j.noted.drop("class " + name)
			return fmt.Errorf("noting class %q: %w", name, err)
		}
	}
	return nil
}

// noteWorker makes a worker and its classes known.
func (j *Jobs) noteWorker(ctx context.Context, w pipeline.Worker) error {
	if err := j.noteClass(ctx, w.Classes...); err != nil {
		return err
	}
	if !j.noted.due("worker " + w.ID) {
		return nil
	}
	data, err := json.Marshal(struct {
		V int `json:"v"`
		pipeline.Worker
	}{1, w})
	if err != nil {
		return fmt.Errorf("encoding worker %s: %w", w.ID, err)
	}
	return j.seen(ctx, w.ID, data)
}

// noteSeen notes that a worker was heard of.
func (j *Jobs) noteSeen(ctx context.Context, id string) error {
	if !j.noted.due("worker " + id) {
		return nil
	}
	return j.seen(ctx, id, nil)
}

func (j *Jobs) seen(ctx context.Context, id string, data []byte) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	_, err := j.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, workersSeenKey(), redis.Z{Score: float64(time.Now().UnixMilli()), Member: id})
		if data != nil {
			p.HSet(ctx, workersKey(), id, data)
		}
		return nil
	})
	if err != nil {
		j.noted.drop("worker " + id)
		return fmt.Errorf("noting worker %s: %w", id, err)
	}
	return nil
}

// WorkerState is a worker as lists show it.
type WorkerState struct {
	pipeline.Worker
	SeenAt time.Time `json:"seen_at"`
	Jobs   []string  `json:"jobs"` // IDs of what it holds
}

// Workers lists the workers that were heard of within ten minutes, by name.
func (j *Jobs) Workers(ctx context.Context) ([]WorkerState, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	seen, err := j.seenWorkers(ctx)
	if err != nil || len(seen) == 0 {
		return nil, err
	}
	held, err := j.held(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(seen))
	for i, z := range seen {
		ids[i], _ = z.Member.(string)
	}
	data, err := j.rdb.HMGet(ctx, workersKey(), ids...).Result()
	if err != nil {
		return nil, fmt.Errorf("listing workers: %w", err)
	}
	var all []WorkerState
	for i, d := range data {
		text, ok := d.(string)
		if !ok {
			continue // heard of by a renewal only
		}
		w := WorkerState{SeenAt: time.UnixMilli(int64(seen[i].Score)).UTC(), Jobs: held[ids[i]]}
		if err := json.Unmarshal([]byte(text), &w.Worker); err != nil {
			return nil, fmt.Errorf("decoding worker %s: %w", ids[i], err)
		}
		all = append(all, w)
	}
	sort.Slice(all, func(a, b int) bool { return all[a].Name+all[a].ID < all[b].Name+all[b].ID })
	return all, nil
}

// seenWorkers forgets the old ones and lists the others.
func (j *Jobs) seenWorkers(ctx context.Context) ([]redis.Z, error) {
	before := strconv.FormatInt(time.Now().Add(-forgetWorkers).UnixMilli(), 10)
	old, err := j.rdb.ZRangeByScore(ctx, workersSeenKey(), &redis.ZRangeBy{Min: "-inf", Max: before}).Result()
	if err == nil && len(old) > 0 {
		_, err = j.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.HDel(ctx, workersKey(), old...)
			p.ZRemRangeByScore(ctx, workersSeenKey(), "-inf", before)
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("forgetting old workers: %w", err)
	}
	seen, err := j.rdb.ZRangeWithScores(ctx, workersSeenKey(), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("listing workers: %w", err)
	}
	return seen, nil
}

// held are the IDs of held jobs by worker.
func (j *Jobs) held(ctx context.Context) (map[string][]string, error) {
	classes, err := j.Classes(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string][]string{}
	for _, c := range classes {
		pairs, err := j.run(ctx, heldJobs, class(c)).StringSlice()
		if err != nil {
			return nil, fmt.Errorf("listing held jobs of class %q: %w", c, err)
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			_, worker, _ := strings.Cut(pairs[i+1], ":")
			by[worker] = append(by[worker], pairs[i])
		}
	}
	return by, nil
}
