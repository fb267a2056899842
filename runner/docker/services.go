package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

var _ runner.Serviced = (*box)(nil)

// service is one container beside the build's.
type service struct {
	pipeline.Service
	id string
}

const (
	defaultReady  = time.Minute
	inspectTime   = 5 * time.Second
	healthPause   = 500 * time.Millisecond
	serviceTail   = "200" // lines of a service that the build's log gets
	serviceLogMax = "1m"  // what the engine keeps of what a service prints
)

// startServices starts them all at a time; Ready waits for what is in them.
func (b *box) startServices(ctx context.Context) error {
	b.services = make([]service, len(b.spec.Services))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range b.spec.Services {
		b.services[i].Service = s
		g.Go(func() error { return b.startService(ctx, &b.services[i]) })
	}
	return g.Wait()
}

func (b *box) startService(ctx context.Context, s *service) error {
	config, host, err := b.serviceConfig(ctx, s.Service)
	if err != nil {
		return err
	}
	ends := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{b.network: {Aliases: []string{s.Name}}}}
	s.id, err = b.engine.createContainer(ctx, config, host, ends)
	if isNotFound(err) {
		if err := b.engine.pull(ctx, s.Image); err != nil {
			return err
		}
		s.id, err = b.engine.createContainer(ctx, config, host, ends)
	}
	if err == nil {
		err = b.engine.api.ContainerStart(ctx, s.id, container.StartOptions{})
	}
	if err != nil {
		return fmt.Errorf("starting service %s: %w", s.Name, err)
	}
	return nil
}

// serviceConfig is a container as tightly held as the build's own, but for a
// Docker engine, which has the rights of a privileged build.
func (b *box) serviceConfig(ctx context.Context, s pipeline.Service) (*container.Config, *container.HostConfig, error) {
	labels := b.engine.labels()
	labels[labelBuild] = b.spec.Build
	config := &container.Config{
		Image: s.Image, Cmd: s.Command, Labels: labels, Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	for _, v := range s.Variables {
		config.Env = append(config.Env, v.Name+"="+v.Value)
	}
	resources, err := b.resources(ctx, s.Limits)
	if err != nil {
		return nil, nil, err
	}
	init := true
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode(b.network), Init: &init, Resources: resources,
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": serviceLogMax, "max-file": "1"}},
	}
	if s.Engine {
		host.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: b.spec.Source, Target: b.spec.SourcePath}}
	}
	b.engine.options.grant(host, s.Engine)
	return config, host, nil
}

// Ready waits for all services at a time.
func (b *box) Ready(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range b.services {
		g.Go(func() error { return b.ready(ctx, b.services[i]) })
	}
	return g.Wait()
}

// ready waits until the service is, has ended, or its time is over.
func (b *box) ready(ctx context.Context, s service) error {
	if s.Health == "" && s.Port == 0 {
		return nil
	}
	limit := defaultReady
	if s.ReadyTimeout > 0 {
		limit = s.ReadyTimeout
	}
	slow := fmt.Sprintf("nothing listens on port %d after %s", s.Port, limit)
	probe := b.listens
	if s.Health != "" {
		slow, probe = fmt.Sprintf("its health command did not succeed within %s", limit), b.healthy
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, runner.ServiceNotReady(s.Service, slow))
	defer cancel()
	ended, failed := b.engine.api.ContainerWait(ctx, s.id, container.WaitConditionNotRunning)
	var probing sync.WaitGroup
	probed := make(chan error, 1)
	probing.Go(func() { probed <- probe(ctx, s) })
	var err error
	select {
	case err = <-probed:
		if err == nil {
			return nil
		}
	case <-ended:
	case err = <-failed:
	}
	cause := context.Cause(ctx)
	cancel()
	probing.Wait()
	return b.whyNotReady(ctx, s, cmp.Or(cause, err))
}

// whyNotReady prefers the end of a service to whatever else it led to.
func (b *box) whyNotReady(ctx context.Context, s service, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inspectTime)
	defer cancel()
	info, failed := b.engine.api.ContainerInspect(ctx, s.id)
	if failed == nil && info.State != nil && !info.State.Running {
		return runner.ServiceNotReady(s.Service, fmt.Sprintf("it ended with exit status %d", info.State.ExitCode))
	}
	return fmt.Errorf("waiting for service %s: %w", s.Name, err)
}

// healthy runs the health command until it succeeds.
func (b *box) healthy(ctx context.Context, s service) error {
	t := time.NewTicker(healthPause)
	defer t.Stop()
	for {
		code, err := b.inService(ctx, s, s.Health)
		if err != nil || code == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

// inService runs a command in the service's container.
func (b *box) inService(ctx context.Context, s service, command string) (code int, err error) {
	api := b.engine.api
	made, err := api.ContainerExecCreate(ctx, s.id, container.ExecOptions{AttachStdout: true, AttachStderr: true, Cmd: []string{"sh", "-c", command}})
	if err != nil {
		return 0, err
	}
	in, err := api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return 0, err
	}
	cut := context.AfterFunc(ctx, in.Close)
	_, err = io.Copy(io.Discard, in.Reader)
	cut()
	in.Close()
	if err != nil {
		return 0, err
	}
	end, err := api.ContainerExecInspect(ctx, made.ID)
	return end.ExitCode, err
}

// listenScript waits until something but the loopback listens on a port. It
// needs a shell and sleep only, which every build image has, while a service's
// may have neither.
const listenScript = `port=$(printf %04X "$1")
while :; do
	for f in /proc/net/tcp /proc/net/tcp6; do
		while read -r _ local _ state _; do
			case "$state $local" in
			"0A 0100007F:"* | "0A 00000000000000000000000001000000:"*) ;;
			"0A "*":$port") exit 0 ;;
			esac
		done <"$f"
	done 2>/dev/null
	sleep 0.2 2>/dev/null || sleep 1 || exit 1
done`

// listens waits for the service's port from a container of the build's image
// that shares the service's network and nothing else: the host may not be able
// to reach it.
func (b *box) listens(ctx context.Context, s service) (err error) {
	api := b.engine.api
	labels := b.engine.labels()
	labels[labelBuild] = b.spec.Build
	resources, err := b.resources(ctx, pipeline.Limits{})
	if err != nil {
		return err
	}
	init := true
	config := &container.Config{
		Image: b.spec.Image, Entrypoint: []string{"sh", "-c", listenScript, "sh", fmt.Sprint(s.Port)}, Cmd: []string{}, User: "0", Labels: labels,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	id, err := b.engine.createContainer(ctx, config, &container.HostConfig{
		NetworkMode: container.NetworkMode("container:" + s.id), Init: &init, LogConfig: container.LogConfig{Type: "none"},
		CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"}, Resources: resources,
	}, nil)
	if err != nil {
		return err
	}
	defer func() {
		b.engine.background(func(ctx context.Context) { b.engine.removeContainer(ctx, id, b.spec.Build) })
	}()
	ended, failed := api.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return err
	}
	select {
	case end := <-ended:
		if end.StatusCode != 0 {
			return fmt.Errorf("looking at its port: exit status %d", end.StatusCode)
		}
		return nil
	case err := <-failed:
		return err
	}
}

// ServiceLog writes the last of both streams of the service.
func (b *box) ServiceLog(ctx context.Context, name string, w io.Writer) error {
	for _, s := range b.services {
		if s.Name != name {
			continue
		}
		r, err := b.engine.api.ContainerLogs(ctx, s.id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: serviceTail})
		if err != nil {
			return fmt.Errorf("reading log of service %s: %w", name, err)
		}
		_, err = stdcopy.StdCopy(w, w, r)
		return errors.Join(err, r.Close())
	}
	return fmt.Errorf("there is no service %s", name)
}

// removeServices takes them away with what they have stored.
func (b *box) removeServices(ctx context.Context) {
	for _, s := range b.services {
		if s.id != "" {
			b.engine.removeContainer(ctx, s.id, b.spec.Build)
		}
	}
}

func (e *Engine) removeContainer(ctx context.Context, id, build string) {
	err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !isNotFound(err) {
		e.options.Log.Warn("container beside a build left behind", "job", build, "error", err)
	}
}
