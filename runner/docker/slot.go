package docker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

// slot is what is kept ready for one build to come: a network and, when it is
// known what builds ask for, a container on it that waits for its first order.
type slot struct {
	want wish // zero: a network only
	// done is closed when the rest is there, of which nothing changes then.
	done    chan struct{}
	network string // empty: it could not be made
	spare   *box   // nil: none was wanted, or it could not be started
	rest    func() // ends what keeps spare alive
}

// wish is what a container kept ready must be, to serve a build.
type wish struct {
	image  string
	limits pipeline.Limits
}

// slots are those kept ready, the oldest first.
type slots struct {
	mu   sync.Mutex
	list []*slot
	next wish // of the last build
	cool *time.Timer
	// free are networks that no container is on any more, for slots to come: a
	// network can be lent again, a container's namespace on it can't.
	free   []string
	closed bool // nothing more is kept
}

// take takes a slot out: the first that fits, else none.
func (s *slots) take(fits func(*slot) bool) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.list, fits)
	if i < 0 {
		return nil
	}
	found := s.list[i]
	s.list = slices.Delete(s.list, i, i+1)
	return found
}

// Spare takes a container that was started ahead for such a build. One that is
// still being started is waited for: a new one would take longer.
func (e *Engine) Spare(ctx context.Context, s runner.Spec) (runner.Container, runner.Place) {
	want := wish{s.Image, s.Limits}
	if !ordinary(s) || want == (wish{}) {
		return nil, runner.Place{}
	}
	found := e.slots.take(func(s *slot) bool { return s.want == want })
	if found == nil {
		return nil, runner.Place{}
	}
	select {
	case <-found.done:
	case <-ctx.Done():
		e.background(func(ctx context.Context) { e.discard(ctx, found) })
		return nil, runner.Place{}
	}
	if found.spare == nil || !e.usable(ctx, found.spare) {
		e.background(func(ctx context.Context) { e.discard(ctx, found) })
		return nil, runner.Place{}
	}
	found.rest()
	found.spare.spec.Build = s.Build
	e.background(func(ctx context.Context) { e.rename(ctx, found.spare) })
	e.expect(s)
	return found.spare, found.spare.spec.Place
}

// ordinary reports whether a build like this can have a container that was
// started ahead: it asks for nothing but an image and limits.
func ordinary(s runner.Spec) bool { return !s.Privileged && len(s.Services) == 0 }

// usable reports whether a container that has waited still runs, and its image
// is still what its name means.
func (e *Engine) usable(ctx context.Context, b *box) bool {
	image, err := e.api.ImageInspect(ctx, b.spec.Image)
	if err != nil {
		return false
	}
	info, err := e.api.ContainerInspect(ctx, b.id)
	return err == nil && info.State != nil && info.State.Running && info.Image == image.ID
}

// rename has the container of a build named after it, for people.
func (e *Engine) rename(ctx context.Context, b *box) {
	if err := e.api.ContainerRename(ctx, b.id, "slipway-"+e.id+"-"+b.spec.Build); err != nil {
		e.options.Log.Debug("container not renamed", "job", b.spec.Build, "error", err) // it may be gone
	}
}

// network takes one that is ready, or makes one. Each serves one build.
func (e *Engine) network(ctx context.Context) (string, error) {
	found := e.slots.take(func(s *slot) bool { return s.want == (wish{}) })
	if found == nil {
		return e.anyNetwork(ctx)
	}
	select {
	case <-found.done:
	case <-ctx.Done():
		e.background(func(ctx context.Context) { e.discard(ctx, found) })
		return "", context.Cause(ctx)
	}
	if found.network == "" {
		return e.makeNetwork(ctx) // which tells why
	}
	return found.network, nil
}

// expect has the next slot made, for a build like s.
func (e *Engine) expect(s runner.Spec) {
	if e.options.Spare > 0 && ordinary(s) {
		e.slots.hope(wish{s.Image, s.Limits})
		e.slots.cool.Reset(e.options.Spare)
	}
	e.prepare()
}

// cooled goes back to networks alone: it is long since anything was built.
func (e *Engine) cooled() {
	e.slots.hope(wish{})
	e.dropFree()
	for range e.options.Prepared {
		e.prepare() // which takes the place of one with a container
	}
}

func (s *slots) hope(w wish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = w
}

// prepare has one slot made, in the place of one that is not wanted any more
// if there are enough.
func (e *Engine) prepare() {
	made, old := e.slots.reserve(e.options.Prepared)
	if made == nil {
		return
	}
	e.background(func(ctx context.Context) {
		e.fill(ctx, made)
		if old != nil {
			<-old.done
			e.discard(ctx, old)
		}
	})
}

// reserve adds a slot that is yet to be made, unless there are so many that
// are wanted.
func (s *slots) reserve(most int) (made, old *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) >= most {
		i := slices.IndexFunc(s.list, func(old *slot) bool { return old.want != s.next })
		if i < 0 {
			return nil, nil
		}
		old = s.list[i]
		s.list = slices.Delete(s.list, i, i+1)
	}
	made = &slot{want: s.next, done: make(chan struct{})}
	s.list = append(s.list, made)
	return made, old
}

// fill makes what a slot holds. A container that can't be had, because its
// image is gone or it has no shell, is left to the build that wants it.
func (e *Engine) fill(ctx context.Context, s *slot) {
	defer close(s.done)
	var err error
	if s.network, err = e.anyNetwork(ctx); err != nil {
		e.options.Log.Warn("no network prepared for the next build", "error", err)
		return
	}
	if s.want == (wish{}) {
		return
	}
	place, err := runner.NewPlace(e.Temp())
	if err != nil {
		e.options.Log.Warn("no container prepared for the next build", "error", err)
		return
	}
	b := &box{engine: e, network: s.network, spec: runner.Spec{Image: s.want.image, Limits: s.want.limits, Place: place}}
	if err = b.tryCreate(ctx); err == nil {
		err = b.begin(ctx)
	}
	if err != nil {
		e.options.Log.Debug("no container prepared for the next build", "error", err)
		b.remove(ctx)
		s.network = ""
		return
	}
	s.spare = b
	s.rest = e.rest(b)
}

// anyNetwork is one that a build has left, behind a firewall that has been
// looked after, or else a new one.
func (e *Engine) anyNetwork(ctx context.Context) (string, error) {
	if left := e.slots.reuse(); left != "" {
		e.firewall.raise(ctx)
		return left, nil
	}
	return e.makeNetwork(ctx)
}

func (s *slots) reuse() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		return ""
	}
	last := len(s.free) - 1
	left := s.free[last]
	s.free = s.free[:last]
	return left
}

// leave takes back the network of a container that is gone: for the next build,
// or away if enough are free.
func (e *Engine) leave(ctx context.Context, network string) {
	if network == "" || e.slots.keep(network, e.options.Prepared) {
		return
	}
	e.dropNetwork(ctx, network)
}

func (s *slots) keep(network string, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.free) >= most {
		return false
	}
	s.free = append(s.free, network)
	return true
}

// dropFree takes away the networks that builds have left, in the background.
func (e *Engine) dropFree() {
	for n := e.slots.reuse(); n != ""; n = e.slots.reuse() {
		e.background(func(ctx context.Context) { e.dropNetwork(ctx, n) })
	}
}

// rest keeps a container alive that waits, until the result is called.
func (e *Engine) rest(b *box) (end func()) {
	// The call that started it ends long before.
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := runner.KeepAlive(ctx, b, b.spec.Work); err != nil {
			e.options.Log.Warn("container prepared for the next build ends itself", "error", err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// discard takes away a slot that is done and that nobody will use.
func (e *Engine) discard(ctx context.Context, s *slot) {
	if s.spare == nil {
		e.dropNetwork(ctx, s.network)
		return
	}
	s.rest()
	s.spare.remove(ctx)
}

// discardAll takes away all slots of an engine that is closed.
func (e *Engine) discardAll(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	e.slots.close()
	for n := e.slots.reuse(); n != ""; n = e.slots.reuse() {
		wg.Go(func() { e.dropNetwork(ctx, n) })
	}
	for s := e.slots.take(anySlot); s != nil; s = e.slots.take(anySlot) {
		wg.Go(func() { e.discard(ctx, s) })
	}
}

func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func anySlot(*slot) bool { return true }
