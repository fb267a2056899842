package queuetest

import (
	"errors"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

func jobTokens(t *testing.T, b *jobBench) {
	b.add(b.job("a", "r"), b.job("b", "r"))
	first, second := b.claim(), b.claim()
	if second.Token <= first.Token {
		t.Errorf("tokens %d, then %d: want them to grow", first.Token, second.Token)
	}
	forged := second.Ref()
	forged.Token = first.Token
	for name, call := range map[string]func() error{
		"check":  func() error { return b.jobs.Check(t.Context(), forged) },
		"renew":  func() error { _, err := b.jobs.Renew(t.Context(), forged); return err },
		"finish": func() error { return b.jobs.Finish(t.Context(), forged) },
		"drop":   func() error { return b.jobs.Drop(t.Context(), second.Ref()) }, // it isn't lost
	} {
		if err := call(); !errors.Is(err, pipeline.ErrStale) {
			t.Errorf("%s: got %v, want ErrStale", name, err)
		}
	}
	if err := b.jobs.Check(t.Context(), second.Ref()); err != nil {
		t.Error(err)
	}
}

// lost waits until the sweeper lists the job.
func (b *jobBench) lost(id string) (found pipeline.Job) {
	b.t.Helper()
	await(b.t, "job "+id+" to be lost", func() bool {
		lost, err := b.jobs.Lost(b.t.Context(), 100)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, found = range lost {
			if found.ID == b.label+"-"+id {
				return true
			}
		}
		return false
	})
	return found
}

func jobLost(t *testing.T, b *jobBench) {
	ctx := t.Context()
	a := b.job("a", "r")
	a.Concurrency = 1
	next := b.job("b", "r")
	next.Concurrency = 1
	b.add(a, next)
	j := b.claim()
	began := time.Now()
	lost := b.lost("a")
	if took := time.Since(began); took < 900*time.Millisecond || took > 3*time.Second {
		t.Errorf("lost after %v, want about the lease of 1 s", took)
	}
	if lost.Token != j.Token {
		t.Errorf("got token %d, want %d", lost.Token, j.Token)
	}
	if _, err := b.jobs.Renew(ctx, j.Ref()); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("renewing: got %v, want ErrStale", err)
	}
	if err := b.jobs.Finish(ctx, j.Ref()); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("finishing: got %v, want ErrStale", err)
	}
	b.lost("a") // as long as nobody has dropped it
	b.none()    // its place is taken until then
	for range 2 {
		if err := b.jobs.Drop(ctx, lost.Ref()); err != nil {
			t.Fatal(err)
		}
	}
	b.want(b.claim(), "b")
	if err := b.jobs.Finish(ctx, j.Ref()); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("finishing a dropped job: got %v, want ErrStale", err)
	}
}
