package docker_test

import (
	"slices"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
)

// What a container may do: the settings that the Docker engine is sent.
//
// Attacks: 13.
func TestPrivileges(t *testing.T) {
	some := docker.Options{Capabilities: []string{"SYS_ADMIN", "NET_ADMIN"}, Limits: pipeline.Limits{Processes: 10}}
	every := docker.Options{Limits: some.Limits}
	spec := runner.Spec{Place: runner.Place{Work: "/w", Source: "/s", SourcePath: "/src"}}
	privileged := spec
	privileged.Privileged = true
	ofService := func(o docker.Options, s pipeline.Service) *container.HostConfig {
		_, h := docker.ServiceSettings(o, spec, s)
		return h
	}
	storage := mount.Mount{Type: mount.TypeVolume, Target: "/var/lib/docker"}
	tests := []struct {
		name              string
		host              *container.HostConfig
		all, admin, store bool
		security          []string
	}{
		{"a build", docker.BuildSettings(some, spec), false, false, false, []string{"no-new-privileges"}},
		{"a privileged build", docker.BuildSettings(every, privileged), true, false, true, nil},
		{"a privileged build with some rights", docker.BuildSettings(some, privileged), false, true, true, []string{"seccomp=unconfined", "apparmor=unconfined"}},
		{"a service", ofService(some, pipeline.Service{}), false, false, false, []string{"no-new-privileges"}},
		{"a Docker engine", ofService(every, pipeline.Service{Engine: true}), true, false, true, nil},
		{"a Docker engine with some rights", ofService(some, pipeline.Service{Engine: true}), false, true, true, []string{"seccomp=unconfined", "apparmor=unconfined"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := tt.host
			if h.Privileged != tt.all || slices.Contains(h.CapAdd, "SYS_ADMIN") != tt.admin || slices.Contains(h.Mounts, storage) != tt.store {
				t.Errorf("got privileged %t, capabilities %v, mounts %v", h.Privileged, h.CapAdd, h.Mounts)
			}
			if !tt.all && !slices.Equal(h.CapDrop, []string{"ALL"}) {
				t.Errorf("dropped are %v", h.CapDrop)
			}
			if diff := cmp.Diff(tt.security, []string(h.SecurityOpt)); diff != "" {
				t.Error(diff)
			}
			for _, m := range h.Mounts {
				if m.Source != "" && m.Source != "/w" && m.Source != "/s" {
					t.Errorf("the container sees %s of the host", m.Source)
				}
			}
		})
	}
}

// A service is labelled, limited and named as a build is, so that whoever
// tidies up finds it.
func TestServiceSettings(t *testing.T) {
	s := pipeline.Service{
		Name: "db", Image: "postgres", Command: []string{"serve"}, Limits: pipeline.Limits{MemoryBytes: 1 << 20},
		Variables: []pipeline.Variable{{Name: "A", Value: "b"}},
	}
	o := docker.Options{Data: "/data", Limits: pipeline.Limits{MemoryBytes: 1 << 30, CPUs: 2, Processes: 10}}
	config, host := docker.ServiceSettings(o, runner.Spec{Build: "b1"}, s)
	labels := map[string]string{"slipway.build": "b1", "slipway.runner": "me", "slipway.data": docker.LabelOf("/data")}
	if diff := cmp.Diff(labels, config.Labels); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(config.Env, []string{"A=b"}) || !slices.Equal([]string(config.Cmd), []string{"serve"}) || config.Entrypoint != nil {
		t.Errorf("got %+v", config)
	}
	if host.Memory != 1<<20 || host.MemorySwap != 1<<20 || host.NanoCPUs != 2e9 || *host.PidsLimit != 10 || host.NetworkMode != "net" || host.Mounts != nil {
		t.Errorf("got %+v", host)
	}
}
