package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
)

// Reap removes the containers with their volumes, the networks and the folders
// of those processes on the same data folder that are dead. Open calls it.
func (e *Engine) Reap(ctx context.Context) error {
	return errors.Join(e.reapContainers(ctx), e.reapNetworks(ctx), e.reapFolders())
}

func (e *Engine) filter() filters.Args {
	return filters.NewArgs(filters.Arg("label", labelData+"="+e.dataLabel()))
}

func (e *Engine) reapContainers(ctx context.Context) error {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: e.filter()})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	var errs []error
	for _, c := range list {
		if !e.dead(c.Labels[labelRunner]) {
			continue
		}
		err := e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !isNotFound(err) {
			errs = append(errs, fmt.Errorf("removing container: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) reapNetworks(ctx context.Context) error {
	list, err := e.api.NetworkList(ctx, network.ListOptions{Filters: e.filter()})
	if err != nil {
		return fmt.Errorf("listing networks: %w", err)
	}
	for _, n := range list {
		if e.dead(n.Labels[labelRunner]) {
			e.dropNetwork(ctx, n.ID)
		}
	}
	return nil
}

func (e *Engine) reapFolders() error {
	entries, err := os.ReadDir(e.builds())
	if err != nil {
		return fmt.Errorf("listing folders of builds: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		id := strings.TrimSuffix(entry.Name(), ".lock")
		if !e.dead(id) {
			continue
		}
		errs = append(errs, os.RemoveAll(filepath.Join(e.builds(), id)), os.RemoveAll(e.lockFile(id)))
	}
	return errors.Join(errs...)
}

// dead reports whether no living process holds the lock of a runner.
func (e *Engine) dead(id string) bool {
	if id == e.id {
		return false
	}
	f, err := os.OpenFile(e.lockFile(id), os.O_RDWR, 0)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer func() { _ = f.Close() }() // which gives the lock up again
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
