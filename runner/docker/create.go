package docker

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// createContainer makes a container with a name of its own. The engine's answer
// is waited for even if ctx ends, for up to backgroundTime: the engine would
// make the container all the same, and nobody would know its ID.
func (e *Engine) createContainer(ctx context.Context, c *container.Config, h *container.HostConfig, ends *network.NetworkingConfig) (id string, err error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	ctx, cancel := lasting(ctx)
	defer cancel()
	made, err := e.api.ContainerCreate(ctx, c, h, ends, nil, "slipway-"+e.id+"-"+randomID())
	return made.ID, err
}

// lasting is for what must not be given up half done because a build ended.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), backgroundTime)
}
