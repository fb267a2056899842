package docker

import "context"

// Ready makes sure that the image is here, pulling it if need be. The error of
// one that can't be had is a *pipeline.UserError.
func (e *Engine) Ready(ctx context.Context, image string) error {
	if _, err := e.api.ImageInspect(ctx, image); err == nil {
		return nil
	}
	return e.pull(ctx, image)
}
