package docker

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

// workPath is where a build sees its work folder.
const workPath = "/codebuild/output/tmp"

// capabilities are what root in a build container keeps: enough to install
// packages, change owners and become other users. Everything else is dropped.
var capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETUID", "SYS_CHROOT", "AUDIT_WRITE",
}

func isNotFound(err error) bool { return errdefs.IsNotFound(err) }

// box is one build's container.
type box struct {
	*stream
	engine  *Engine
	spec    runner.Spec
	id      string
	network string
	// services are those beside the build.
	services []service
	once     sync.Once
}

// Start makes network and container, attaches, and starts.
func (e *Engine) Start(ctx context.Context, s runner.Spec) (runner.Container, error) {
	b := &box{engine: e, spec: s}
	if err := b.start(ctx); err != nil {
		b.spec.Folder = "" // stays the caller's
		b.Remove()
		return nil, err
	}
	e.expect(s)
	return b, nil
}

func (b *box) start(ctx context.Context) (err error) {
	if b.network, err = b.engine.networkFor(ctx, b.spec); err != nil {
		return err
	}
	if err := b.create(ctx); err != nil {
		return err
	}
	if err := b.begin(ctx); err != nil {
		return err
	}
	return b.startServices(ctx)
}

// begin attaches to what was created, and starts it.
func (b *box) begin(ctx context.Context) error {
	in, err := b.engine.api.ContainerAttach(ctx, b.id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attaching to build container: %w", err)
	}
	b.stream = newStream(in)
	err = b.engine.api.ContainerStart(ctx, b.id, container.StartOptions{})
	if err != nil && strings.Contains(err.Error(), "executable file not found") {
		return runner.NoShell(b.spec.Image, "no sh in the image")
	}
	if err != nil {
		return fmt.Errorf("starting build container: %w", err)
	}
	return nil
}

// create makes the container and pulls the image if it isn't there.
func (b *box) create(ctx context.Context) error {
	if b.spec.Image == "" {
		return runner.NoImage("", "no image is named", "Name one for the build, the project or the runner.")
	}
	err := b.tryCreate(ctx)
	if isNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "image") {
		if err := b.engine.pull(ctx, b.spec.Image); err != nil {
			return err
		}
		err = b.tryCreate(ctx)
	}
	return err
}

// tryCreate makes the container of an image that is here. One that is made
// before its build is known has no label of a build.
func (b *box) tryCreate(ctx context.Context) error {
	host, err := b.hostConfig(ctx)
	if err != nil {
		return err
	}
	labels := b.engine.labels()
	if b.spec.Build != "" {
		labels[labelBuild] = b.spec.Build
	}
	config := &container.Config{
		Image: b.spec.Image, Entrypoint: []string{"sh", path.Join(workPath, runner.DriverName)}, Cmd: []string{}, User: "0",
		WorkingDir: "/", Env: []string{"HOME=/root"}, Labels: labels,
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}
	if b.id, err = b.engine.createContainer(ctx, config, host, nil); err != nil {
		return fmt.Errorf("creating build container: %w", err)
	}
	return nil
}

func (b *box) hostConfig(ctx context.Context) (*container.HostConfig, error) {
	init := true
	resources, err := b.resources(ctx, b.spec.Limits)
	if err != nil {
		return nil, err
	}
	h := &container.HostConfig{
		NetworkMode: container.NetworkMode(b.network),
		Init:        &init,
		LogConfig:   container.LogConfig{Type: "none"},
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: b.spec.Work, Target: workPath},
			{Type: mount.TypeBind, Source: b.spec.Source, Target: b.spec.SourcePath},
		},
		Resources: resources,
	}
	b.engine.options.grant(h, b.spec.Privileged)
	return h, nil
}

// resources are the limits of one container, the engine's where l names none.
func (b *box) resources(ctx context.Context, l pipeline.Limits) (container.Resources, error) {
	limits, err := b.engine.limits(ctx)
	if err != nil {
		return container.Resources{}, err
	}
	if l.MemoryBytes > 0 {
		limits.MemoryBytes = l.MemoryBytes
	}
	if l.CPUs > 0 {
		limits.CPUs = min(l.CPUs, limits.CPUs)
	}
	if l.Processes > 0 {
		limits.Processes = l.Processes
	}
	return container.Resources{
		Memory: limits.MemoryBytes, MemorySwap: limits.MemoryBytes,
		NanoCPUs: int64(limits.CPUs * nanoCPU), PidsLimit: &limits.Processes,
	}, nil
}

// pull gets an image, or says why it can't be had.
func (e *Engine) pull(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, e.options.PullTimeout)
	defer cancel()
	const hint = "Check its name, pull or build it on the runner's host, or map the name to another image in the server's configuration."
	progress, err := e.api.ImagePull(ctx, name, image.PullOptions{})
	if err == nil {
		_, err = io.Copy(io.Discard, progress)
		err = errors.Join(err, progress.Close())
	}
	switch {
	case err == nil:
		_, err = e.api.ImageInspect(ctx, name)
		if err != nil {
			return runner.NoImage(name, "the pull did not bring it", hint)
		}
		return nil
	case context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return context.Cause(ctx)
	}
	return runner.NoImage(name, err.Error(), hint)
}

// Work is where the build sees its work folder.
func (b *box) Work() string { return workPath }

// Source is where the build sees its source.
func (b *box) Source() string { return b.spec.SourcePath }

// Exec runs the driver as another user.
func (b *box) Exec(ctx context.Context, user string) (runner.Process, error) {
	if !b.hasUser(ctx, user) {
		return nil, runner.NoUser(user, "the image has no such user")
	}
	made, err := b.engine.api.ContainerExecCreate(ctx, b.id, container.ExecOptions{
		User: user, AttachStdin: true, AttachStdout: true, AttachStderr: true, WorkingDir: "/",
		Cmd: []string{"sh", path.Join(workPath, runner.DriverName)},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing commands as user %s: %w", user, err)
	}
	in, err := b.engine.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, fmt.Errorf("running commands as user %s: %w", user, err)
	}
	return newStream(in), nil
}

// hasUser looks the user up in the image's /etc/passwd.
func (b *box) hasUser(ctx context.Context, user string) bool {
	if _, err := strconv.Atoi(user); err == nil {
		return true
	}
	r, _, err := b.engine.api.CopyFromContainer(ctx, b.id, "/etc/passwd")
	if err != nil {
		return false
	}
	defer func() { _ = r.Close() }() // only read from
	in := tar.NewReader(r)
	if _, err := in.Next(); err != nil {
		return false
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if name, _, _ := strings.Cut(lines.Text(), ":"); name == user {
			return true
		}
	}
	return false
}

// Kill ends every process and waits until none is left.
func (b *box) Kill(ctx context.Context) error {
	err := b.engine.api.ContainerKill(ctx, b.id, "KILL")
	if isNotFound(err) || errdefs.IsConflict(err) { // gone, or not running
		return nil
	}
	if err != nil {
		return fmt.Errorf("killing build container: %w", err)
	}
	gone, failed := b.engine.api.ContainerWait(ctx, b.id, container.WaitConditionNotRunning)
	select {
	case <-gone:
		return nil
	case err := <-failed:
		if isNotFound(err) {
			return nil
		}
		return fmt.Errorf("waiting for killed container: %w", err)
	}
}

// ImageDigest is the engine's ID of the container's image.
func (b *box) ImageDigest(ctx context.Context) string {
	info, err := b.engine.api.ContainerInspect(ctx, b.id)
	if err != nil || info.ContainerJSONBase == nil {
		return ""
	}
	return info.Image
}

// Died says what the Docker engine knows of the container's end, unless it took
// its containers along when it ended.
func (b *box) Died(ctx context.Context) (string, error) {
	if err := b.engine.Answers(ctx); err != nil {
		return "", err
	}
	info, err := b.engine.api.ContainerInspect(ctx, b.id)
	switch {
	case isNotFound(err):
		return "it was removed", nil
	case err != nil:
		return "", err
	case info.State == nil || info.State.Running:
		return "", nil
	case info.State.OOMKilled:
		return "out of memory", nil
	}
	return fmt.Sprintf("its first process ended with exit status %d", info.State.ExitCode), nil
}

// Remove takes everything away in the background.
func (b *box) Remove() {
	b.once.Do(func() {
		if !b.engine.background(b.remove) {
			b.engine.options.Log.Warn("build outlives its engine", "job", b.spec.Build)
		}
	})
}

func (b *box) remove(ctx context.Context) {
	log := b.engine.options.Log
	reusable := ordinary(b.spec)
	if b.id != "" {
		if err := b.engine.api.ContainerRemove(ctx, b.id, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !isNotFound(err) {
			log.Warn("build container left behind", "job", b.spec.Build, "error", err)
			reusable = false
		}
	}
	if b.stream != nil {
		b.stream.conn.Close()
	}
	b.removeServices(ctx)
	if reusable {
		b.engine.leave(ctx, b.network)
	} else {
		b.engine.dropNetwork(ctx, b.network)
	}
	if b.spec.Folder == "" {
		return
	}
	if err := b.engine.removeFolder(ctx, b.spec.Folder, b.spec.Image); err != nil {
		log.Warn("folder of a build left behind", "job", b.spec.Build, "error", err)
	}
}

// stream is an attached driver: orders go in raw, output comes in frames.
type stream struct {
	conn types.HijackedResponse
	raw  net.Conn
	in   *bufio.Reader
	left int // bytes of the current frame
}

func newStream(r types.HijackedResponse) *stream {
	return &stream{conn: r, raw: r.Conn, in: r.Reader}
}

func (s *stream) Write(p []byte) (int, error) { return s.raw.Write(p) }

// frameHeader is the length of a frame's header, whose last four bytes are the
// frame's length. Both of the build's streams are one for us.
const frameHeader = 8

func (s *stream) Read(p []byte) (int, error) {
	for s.left == 0 {
		var header [frameHeader]byte
		if _, err := io.ReadFull(s.in, header[:]); err != nil {
			return 0, ended(err)
		}
		s.left = int(binary.BigEndian.Uint32(header[4:]))
	}
	n, err := s.in.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, ended(err)
}

// ended makes io.EOF of the ways in which an attached stream can end.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return io.EOF
	}
	return err
}
