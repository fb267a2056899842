package queue_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
)

// model is what must be so of a job queue, whatever is done to it.
type model struct {
	t     *rapid.T
	redis *miniredis.Miniredis
	now   time.Time
	jobs  *queue.Jobs
	added map[string]pipeline.Job
	ended map[string]bool
	held  map[string]pipeline.Job // by workers that are alive or were lost and not dropped
	gone  map[string]pipeline.Job // whose worker is silent
}

const modelLimit = 2

// TestJobsProperty does random things in random order. No job has two holders,
// no project more than its limit (C46 of the CodeBuild reference: one that is
// over it waits), and all jobs end.
func TestJobsProperty(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	jobs := queue.NewJobs(rdb, queue.JobsOptions{Lease: 15 * time.Second}, discard)
	t.Cleanup(func() { _ = jobs.Close() })
	rapid.Check(t, func(r *rapid.T) {
		for _, key := range server.Keys() {
			if key != "slipway:{classes}:known" { // the queue notes it now and then
				server.Del(key)
			}
		}
		m := &model{
			t: r, redis: server, now: time.Now(), jobs: jobs, added: map[string]pipeline.Job{},
			ended: map[string]bool{}, held: map[string]pipeline.Job{}, gone: map[string]pipeline.Job{},
		}
		server.SetTime(m.now)
		r.Repeat(map[string]func(*rapid.T){
			"add": m.add, "claim": m.claim, "finish": m.finish, "cancel": m.cancel,
			"renew": m.renew, "die": m.die, "pass": m.pass, "lose": m.lose, "": m.check,
		})
		m.drain()
	})
}

func (m *model) ctx() context.Context { return context.Background() }

func (m *model) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) add(r *rapid.T) {
	// Few IDs, so that some are added again.
	id := "j" + strconv.Itoa(rapid.IntRange(0, 40).Draw(r, "id"))
	j := testJob(id, "r"+strconv.Itoa(len(id)%3+int(id[len(id)-1])%3))
	if j.Project != "r2" {
		j.Concurrency = modelLimit
	}
	if rapid.IntRange(0, 4).Draw(r, "delayed") == 0 {
		j.NotBefore = m.now.Add(10 * time.Second)
	}
	m.must(m.jobs.Add(m.ctx(), j))
	m.added[id] = j
}

func (m *model) worker() pipeline.Worker {
	return pipeline.Worker{ID: "w", Classes: []string{testJob("", "").Class()}}
}

func (m *model) claim(*rapid.T) { m.claimed() }

func (m *model) claimed() bool {
	j, err := m.jobs.Claim(m.ctx(), m.worker(), 0)
	if errors.Is(err, pipeline.ErrNotFound) {
		return false
	}
	m.must(err)
	if _, twice := m.held[j.ID]; twice || m.ended[j.ID] {
		m.t.Fatalf("%s was given out twice", j.ID)
	}
	m.held[j.ID] = j
	return true
}

// one draws one of the jobs that are held by a live worker.
func (m *model) one(r *rapid.T) (pipeline.Job, bool) {
	var ids []string
	for i := range 41 {
		id := "j" + strconv.Itoa(i)
		if _, held := m.held[id]; held && m.gone[id].ID == "" {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return pipeline.Job{}, false
	}
	return m.held[rapid.SampledFrom(ids).Draw(r, "held")], true
}

func (m *model) finish(r *rapid.T) {
	if j, ok := m.one(r); ok {
		m.must(m.jobs.Finish(m.ctx(), j.Ref()))
		m.end(j.ID)
	}
}

func (m *model) end(id string) {
	m.ended[id] = true
	delete(m.held, id)
	delete(m.gone, id)
}

func (m *model) cancel(r *rapid.T) {
	id := "j" + strconv.Itoa(rapid.IntRange(0, 40).Draw(r, "id"))
	removed, err := m.jobs.Cancel(m.ctx(), testJob(id, "").Ref(), "no")
	m.must(err)
	if removed {
		if _, held := m.held[id]; held || m.added[id].ID == "" {
			m.t.Fatalf("%s was removed, and was not waiting", id)
		}
		m.end(id)
	}
}

func (m *model) renew(r *rapid.T) {
	if j, ok := m.one(r); ok {
		_, err := m.jobs.Renew(m.ctx(), j.Ref())
		m.must(err)
	}
}

// die silences a worker.
func (m *model) die(r *rapid.T) {
	if j, ok := m.one(r); ok {
		m.gone[j.ID] = j
	}
}

// pass lets time go by; live workers renew.
func (m *model) pass(*rapid.T) {
	for range 2 {
		m.now = m.now.Add(9 * time.Second)
		m.redis.SetTime(m.now)
		for id, j := range m.held {
			if m.gone[id].ID == "" {
				_, err := m.jobs.Renew(m.ctx(), j.Ref())
				m.must(err)
			}
		}
	}
}

func (m *model) lose(r *rapid.T) { m.lost(rapid.Bool().Draw(r, "drop")) }

func (m *model) lost(drop bool) {
	lost, err := m.jobs.Lost(m.ctx(), 100)
	m.must(err)
	for _, j := range lost {
		if m.gone[j.ID].Token != j.Token {
			m.t.Fatalf("%s is lost, and its worker is alive", j.ID)
		}
		if err := m.jobs.Check(m.ctx(), j.Ref()); !errors.Is(err, pipeline.ErrStale) {
			m.t.Fatalf("the token of lost %s: %v, want ErrStale", j.ID, err)
		}
		if drop {
			m.must(m.jobs.Drop(m.ctx(), j.Ref()))
			m.end(j.ID)
		}
	}
}

func (m *model) check(*rapid.T) {
	running := map[string]int{}
	for _, j := range m.held {
		if running[j.Project]++; j.Concurrency > 0 && running[j.Project] > modelLimit {
			m.t.Fatalf("project %s has more than %d running", j.Project, modelLimit)
		}
	}
}

// drain ends everything.
func (m *model) drain() {
	for range 200 {
		for _, j := range m.held {
			if m.gone[j.ID].ID == "" {
				m.must(m.jobs.Finish(m.ctx(), j.Ref()))
				m.end(j.ID)
			}
		}
		m.pass(nil)
		m.lost(true)
		for m.claimed() {
		}
		if len(m.ended) == len(m.added) {
			break
		}
	}
	c, err := m.jobs.Waiting(m.ctx(), testJob("", "").Class())
	m.must(err)
	if len(m.ended) != len(m.added) || c != (queue.Counts{}) {
		m.t.Fatalf("%d of %d jobs ended, left: %+v", len(m.ended), len(m.added), c)
	}
}
