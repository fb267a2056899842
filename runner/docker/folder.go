package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// leftovers is where a build's folder is seen by the container that empties it.
const leftovers = "/leftovers"

// removeFolder takes a build's folder away. Where this process isn't root, the
// build's root may have left folders that it must not write to; the image's rm
// empties those.
func (e *Engine) removeFolder(ctx context.Context, folder, image string) error {
	err := os.RemoveAll(folder)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if emptyErr := e.empty(ctx, folder, image); emptyErr != nil {
		return errors.Join(err, emptyErr)
	}
	return os.RemoveAll(folder)
}

// empty runs rm in a container that sees nothing but the folder. It can't
// remove the folder itself, which is a mount there, so how rm ends says nothing.
func (e *Engine) empty(ctx context.Context, folder, image string) error {
	config := &container.Config{Image: image, Entrypoint: []string{"rm", "-rf", leftovers}, Cmd: []string{}, User: "0", Labels: e.labels()}
	id, err := e.createContainer(ctx, config, &container.HostConfig{
		NetworkMode: "none", LogConfig: container.LogConfig{Type: "none"},
		Mounts:  []mount.Mount{{Type: mount.TypeBind, Source: folder, Target: leftovers}},
		CapDrop: []string{"ALL"}, CapAdd: []string{"DAC_OVERRIDE", "FOWNER"}, SecurityOpt: []string{"no-new-privileges"},
	}, nil)
	if err != nil {
		return fmt.Errorf("emptying folder of build: %w", err)
	}
	defer func() {
		if err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !isNotFound(err) {
			e.options.Log.Warn("container left behind", "error", err)
		}
	}()
	ended, failed := e.api.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return fmt.Errorf("emptying folder of build: %w", err)
	}
	select {
	case <-ended:
		return nil
	case err := <-failed:
		return fmt.Errorf("emptying folder of build: %w", err)
	}
}
