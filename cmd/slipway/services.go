package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store/secrets"
)

// enginePort is where a Docker engine beside a build listens, on the build's
// network only.
const enginePort = 2375

// beside adds what runs beside a build: only what the server's configuration
// says, and for code that nobody vouches for neither a Docker engine nor
// anything that holds a secret.
func (o *orders) beside(ctx context.Context, b *pipeline.BuildOrder, p config.Project) error {
	withheld := func(what string) {
		b.Notes = append(b.Notes, what+", because nobody vouches for the code that is built")
	}
	if p.Privileged && !b.Trusted {
		withheld("this build has no privileged container")
	}
	b.Privileged = p.Privileged && b.Trusted
	if p.Docker.Image != "" && b.Trusted {
		b.Services = append(b.Services, o.dockerEngine(p.Docker))
	} else if p.Docker.Image != "" {
		withheld("this build has no Docker engine")
	}
	for _, s := range p.Services {
		if len(s.Secrets) > 0 && !b.Trusted {
			withheld("the service " + s.Name + ", which has secrets, is left out")
			continue
		}
		made, err := o.service(ctx, s)
		if err != nil {
			return err
		}
		b.Services = append(b.Services, made)
	}
	return nil
}

func (o *orders) dockerEngine(d config.DockerEngine) pipeline.Service {
	return pipeline.Service{
		Name: config.EngineName, Image: resolveImage(o.cfg.Images, d.Image), Engine: true, Port: enginePort,
		Command: append([]string{
			"dockerd", "--host=unix:///var/run/docker.sock", fmt.Sprintf("--host=tcp://0.0.0.0:%d", enginePort), "--tls=false",
		}, d.Options...),
		ReadyTimeout: d.Timeout, Limits: o.limits(d.Compute),
	}
}

func (o *orders) service(ctx context.Context, s config.Service) (pipeline.Service, error) {
	made := pipeline.Service{
		Name: s.Name, Image: resolveImage(o.cfg.Images, s.Image), Command: s.Command, Health: s.Health, Port: s.Port,
		ReadyTimeout: s.Timeout, Limits: o.limits(s.Compute),
	}
	for _, name := range slices.Sorted(maps.Keys(s.Variables)) {
		made.Variables = append(made.Variables, pipeline.Variable{Name: name, Value: s.Variables[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		value, err := o.secretOf(ctx, s.Name, s.Secrets[name])
		if err != nil {
			return made, err
		}
		made.Variables = append(made.Variables, pipeline.Variable{Name: name, Value: value, Secret: true})
	}
	return made, nil
}

// secretOf is the value of NAME or NAME:KEY, which a service needs. As at AWS,
// the name of a parameter begins with a slash.
func (o *orders) secretOf(ctx context.Context, service, ref string) (string, error) {
	name, key, _ := strings.Cut(ref, ":")
	value, err := o.secrets.Lookup(ctx, secrets.Ref{Parameter: strings.HasPrefix(name, "/"), Name: name})
	if err == nil {
		value, err = secrets.Member(value, key)
	}
	_, refused := errors.AsType[*secrets.RefusedError](err)
	switch {
	case errors.Is(err, secrets.ErrNotFound):
		return "", &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: fmt.Sprintf("the server has no secret %q, which the service %s needs", ref, service)}
	case refused:
		return "", &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: fmt.Sprintf("the server may not read the secret %q, which the service %s needs", ref, service)}
	case err != nil:
		return "", fmt.Errorf("looking up a secret of the service %s: %w", service, err)
	}
	return value, nil
}

// limits are those of a compute type; none has the engine's.
func (o *orders) limits(compute ...string) pipeline.Limits {
	c := o.cfg.ComputeTypes[cmp.Or(compute...)]
	return pipeline.Limits{CPUs: c.CPUs, MemoryBytes: c.MemoryMB << 20, Processes: c.Processes}
}
