// Package docker is the engine that runs builds in Docker: a fresh container
// on a network of its own for each, gone when the build is.
package docker

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/docker/docker/client"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

// Options configure an Engine. Data is required.
type Options struct {
	// Host is the address of the Docker engine; empty means its usual socket.
	Host string
	// Data is a folder of this installation. Containers and networks are
	// labelled with it, and builds' folders are below it, so that a later
	// process finds what a dead one left.
	Data string
	// Limits are those of builds whose order names none. Zero means all of the
	// host's CPUs, three quarters of its memory, and 8192 processes.
	Limits pipeline.Limits
	// Capabilities are what privileged builds, and Docker engines beside builds,
	// get on top of an ordinary build's, such as SYS_ADMIN, with no filter of
	// system calls; empty means that they get every right that there is.
	Capabilities []string
	// Prepared is how many networks are kept ready; 0 means 1, less none: the
	// engine is for somebody who waits for one build.
	Prepared int
	// Spare is for how long after a build the prepared networks have containers
	// of its image that wait for the next one; 0 means that they have none.
	Spare time.Duration
	// PullTimeout limits the pull of an image; 0 means 15 minutes.
	PullTimeout time.Duration
	Log         *slog.Logger // nil means none
}

// Engine runs builds in Docker. It is safe for concurrent use.
type Engine struct {
	options Options
	api     *client.Client
	id      string // of this process
	lock    *os.File
	firewall

	slots slots
	host  hostLimits
	// wg counts what goes on in the background, under mu with closed: networks
	// being made, containers being removed.
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

var _ runner.Engine = (*Engine)(nil)

const (
	defaultProcesses = 8192
	defaultPull      = 15 * time.Minute
	// backgroundTime limits what is done for a build off its path.
	backgroundTime = time.Minute
	memoryParts    = 4 // of the host's memory, of which a build gets all but one
	nanoCPU        = 1e9

	labelBuild  = "slipway.build"
	labelRunner = "slipway.runner"
	labelData   = "slipway.data"
)

// Open connects to the Docker engine, puts the rules into place that keep
// builds off this host's addresses (or warns once that it can't), and takes
// away what dead processes left behind.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.PullTimeout = cmp.Or(o.PullTimeout, defaultPull)
	single := o.Prepared < 0
	o.Prepared = max(0, cmp.Or(o.Prepared, 1))
	opts := []client.Opt{client.WithAPIVersionNegotiation()}
	if o.Host != "" {
		opts = append(opts, client.WithHost(o.Host))
	}
	api, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, fmt.Errorf("making Docker client: %w", err)
	}
	e := &Engine{options: o, api: api, id: randomID(), firewall: firewall{log: o.Log}}
	if o.Spare > 0 {
		e.slots.cool = time.AfterFunc(o.Spare, e.cooled)
	}
	pong, err := api.Ping(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking the Docker engine: %w", err), api.Close())
	}
	// Now, or the first calls would each do it, side by side.
	api.NegotiateAPIVersionPing(pong)
	if err := e.claim(); err != nil {
		return nil, errors.Join(err, api.Close())
	}
	if single {
		e.hasten()
		return e, nil
	}
	if _, err := e.limits(ctx); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	e.reapOrWarn(ctx)
	for range o.Prepared {
		e.prepare()
	}
	return e, nil
}

// readyTime is how long the Docker engine may take to say that it is there.
const readyTime = 10 * time.Second

// Answers asks on a connection of its own: an engine that is about to end still
// answers on those that it has.
func (e *Engine) Answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	_ = e.api.Close() // ends idle connections, nothing else
	_, err := e.api.Ping(ctx)
	return err
}

// hasten begins what somebody waits for who has one build: its network, and
// the engine's facts. What the dead left is removed beside it.
func (e *Engine) hasten() {
	made, _ := e.slots.reserve(1)
	e.background(func(ctx context.Context) { e.fill(ctx, made) })
	e.background(func(ctx context.Context) { _, _ = e.limits(ctx) }) // the build asks again
	e.background(e.reapOrWarn)
}

// hostLimits are what builds may take of the engine's host, which is asked once.
type hostLimits struct {
	mu  sync.Mutex
	all pipeline.Limits
}

// limits are those of builds whose order names none.
func (e *Engine) limits(ctx context.Context) (pipeline.Limits, error) {
	e.host.mu.Lock()
	defer e.host.mu.Unlock()
	if e.host.all != (pipeline.Limits{}) {
		return e.host.all, nil
	}
	info, err := e.api.Info(ctx)
	if err != nil {
		return pipeline.Limits{}, fmt.Errorf("asking the Docker engine: %w", err)
	}
	o := e.options.Limits
	e.host.all = pipeline.Limits{
		MemoryBytes: cmp.Or(o.MemoryBytes, info.MemTotal/memoryParts*(memoryParts-1)),
		CPUs:        cmp.Or(o.CPUs, float64(info.NCPU)),
		Processes:   cmp.Or(o.Processes, defaultProcesses),
	}
	return e.host.all, nil
}

func (e *Engine) reapOrWarn(ctx context.Context) {
	if err := e.Reap(ctx); err != nil {
		e.options.Log.Warn("leftovers of dead runners remain", "error", err)
	}
}

func randomID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// claim makes this process's folder and holds a lock on it for as long as the
// process lives.
func (e *Engine) claim() error {
	data, err := filepath.Abs(e.options.Data)
	if err != nil {
		return fmt.Errorf("finding data folder: %w", err)
	}
	e.options.Data = data
	if err := os.MkdirAll(e.Temp(), 0o700); err != nil {
		return fmt.Errorf("making folder for builds: %w", err)
	}
	if e.lock, err = os.OpenFile(e.lockFile(e.id), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("making lock of runner: %w", err)
	}
	if err := syscall.Flock(int(e.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("locking: %w", err)
	}
	return nil
}

func (e *Engine) builds() string            { return filepath.Join(e.options.Data, "builds") }
func (e *Engine) lockFile(id string) string { return filepath.Join(e.builds(), id+".lock") }

// Temp is the folder for builds' folders: what a process leaves there when it
// dies, the next one removes.
func (e *Engine) Temp() string { return filepath.Join(e.builds(), e.id) }

// dataLabel names the data folder without telling where it is.
func (e *Engine) dataLabel() string { return labelOf(e.options.Data) }

func labelOf(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:8])
}

func (e *Engine) labels() map[string]string {
	return map[string]string{labelRunner: e.id, labelData: e.dataLabel()}
}

// background does work that no build waits for. It reports false when the
// engine has been closed.
func (e *Engine) background(work func(context.Context)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.wg.Go(func() {
		// The builds' contexts are over by then, and this is to happen anyway.
		ctx, cancel := context.WithTimeout(context.Background(), backgroundTime)
		defer cancel()
		work(ctx)
	})
	return true
}

// Close waits for removals and takes away what is kept ready.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	if e.slots.cool != nil {
		e.slots.cool.Stop()
	}
	done := make(chan struct{})
	go func() {
		e.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e.discardAll(ctx)
	_ = os.Remove(e.Temp()) // fails if something is left there, which Reap will find
	_ = os.Remove(e.lock.Name())
	_ = e.lock.Close()
	return e.api.Close()
}
