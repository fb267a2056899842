package docker

import (
	"context"

	"github.com/docker/docker/api/types/container"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

// DataLabel is the value of the label slipway.data.
func DataLabel(e *Engine) string { return e.dataLabel() }

// LabelOf is the value of that label for a data folder.
var LabelOf = labelOf

// Waiting is the ID of the container that waits for the next build, once it
// does; empty if none is to come.
func Waiting(ctx context.Context, e *Engine) string {
	e.slots.mu.Lock()
	list := append([]*slot{}, e.slots.list...)
	e.slots.mu.Unlock()
	for _, s := range list {
		select {
		case <-s.done:
		case <-ctx.Done():
			return ""
		}
		if s.spare != nil {
			return s.spare.id
		}
	}
	return ""
}

// Settle waits for what goes on in the background.
func Settle(e *Engine) { e.wg.Wait() }

// Cool is what happens long after the last build.
func Cool(e *Engine) { e.cooled() }

// BuildSettings and ServiceSettings are what the Docker engine would be sent
// for a build and for a service beside it.
func BuildSettings(o Options, s runner.Spec) *container.HostConfig {
	h, err := settingsBox(o, s).hostConfig(context.Background())
	if err != nil {
		panic(err)
	}
	return h
}

func ServiceSettings(o Options, s runner.Spec, service pipeline.Service) (*container.Config, *container.HostConfig) {
	c, h, err := settingsBox(o, s).serviceConfig(context.Background(), service)
	if err != nil {
		panic(err)
	}
	return c, h
}

// settingsBox is one of an engine that needs to ask nobody.
func settingsBox(o Options, s runner.Spec) *box {
	e := &Engine{options: o, id: "me"}
	e.host.all = o.Limits
	return &box{engine: e, spec: s, network: "net"}
}
