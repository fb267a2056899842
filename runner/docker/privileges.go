package docker

import (
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// engineData is where a Docker engine in a container keeps images. It must not
// be on the container's own layers, on which the usual storage can't lie.
const engineData = "/var/lib/docker"

// grant gives a container its rights: few, or those of a privileged one.
func (o Options) grant(h *container.HostConfig, privileged bool) {
	if !privileged {
		h.CapDrop, h.CapAdd = []string{"ALL"}, capabilities
		h.SecurityOpt = []string{"no-new-privileges"}
		return
	}
	h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Target: engineData})
	if len(o.Capabilities) == 0 {
		h.Privileged = true
		return
	}
	h.CapDrop, h.CapAdd = []string{"ALL"}, slices.Concat(capabilities, o.Capabilities)
	h.SecurityOpt = []string{"seccomp=unconfined", "apparmor=unconfined"}
}
