package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Service is a container beside the builds of a project, such as a database.
type Service struct {
	Name      string            `yaml:"name"` // its host name for the build
	Image     string            `yaml:"image"`
	Command   []string          `yaml:"command"` // in place of the image's
	Variables map[string]string `yaml:"variables"`
	// Secrets are variables whose values are in the server's stores: NAME, or
	// NAME:KEY for a member of a JSON object.
	Secrets map[string]string `yaml:"secrets"`
	Health  string            `yaml:"health"` // a command that succeeds once it is ready
	Port    int               `yaml:"port"`   // or: something listens there
	Timeout time.Duration     `yaml:"timeout"`
	Compute string            `yaml:"compute"`
}

// DockerEngine is a Docker engine beside the builds of a project; none without
// an image.
type DockerEngine struct {
	Image   string        `yaml:"image"`
	Options []string      `yaml:"options"` // of dockerd
	Timeout time.Duration `yaml:"timeout"`
	Compute string        `yaml:"compute"`
}

// EngineName is the host name of a build's own Docker engine.
const EngineName = "docker"

const (
	maxServices = 10
	maxPort     = 65535
)

var (
	hostName     = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// checkBeside finds the mistakes in what runs beside the builds of a project
// at a place of the file.
func (c *Config) checkBeside(project string, p Project) error {
	var errs []error
	if len(p.Services) > maxServices {
		errs = append(errs, fmt.Errorf("%s.services: want at most %d, have %d", project, maxServices, len(p.Services)))
	}
	names := map[string]bool{}
	if p.Docker.Image != "" {
		names[EngineName] = true
		if p.Privileged {
			errs = append(errs, fmt.Errorf("%s.docker: a privileged build can start an engine in its own container; want one of docker and privileged", project))
		}
	} else if len(p.Docker.Options) > 0 {
		errs = append(errs, fmt.Errorf("%s.docker.image: want an image with dockerd, such as docker:dind", project))
	}
	errs = append(errs, c.checkShare(project+".docker", p.Docker.Compute, p.Docker.Timeout))
	for i, s := range p.Services {
		at := fmt.Sprintf("%s.services[%d]", project, i)
		if names[s.Name] {
			errs = append(errs, fmt.Errorf("%s.name: there are two of the name %q", at, s.Name))
		}
		names[s.Name] = true
		errs = append(errs, c.checkShare(at, s.Compute, s.Timeout), s.check(at))
	}
	return errors.Join(errs...)
}

func (s Service) check(at string) error {
	var errs []error
	if !hostName.MatchString(s.Name) {
		errs = append(errs, fmt.Errorf("%s.name: want a host name in small letters, have %q", at, s.Name))
	}
	if s.Image == "" {
		errs = append(errs, fmt.Errorf("%s.image: want an image", at))
	}
	if s.Port < 0 || s.Port > maxPort {
		errs = append(errs, fmt.Errorf("%s.port: want 1 to %d, have %d", at, maxPort, s.Port))
	}
	if s.Port != 0 && s.Health != "" {
		errs = append(errs, fmt.Errorf("%s: want one of health and port", at))
	}
	for key, m := range map[string]map[string]string{"variables": s.Variables, "secrets": s.Secrets} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if _, twice := s.Variables[name]; !variableName.MatchString(name) || twice && key == "secrets" {
				errs = append(errs, fmt.Errorf("%s.%s: want names of variables, each once, have %q", at, key, name))
			}
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkShare(at, compute string, timeout time.Duration) error {
	var errs []error
	if _, ok := c.ComputeTypes[compute]; compute != "" && !ok {
		errs = append(errs, fmt.Errorf("%s.compute: %q is not in compute_types", at, compute))
	}
	if timeout < 0 {
		errs = append(errs, fmt.Errorf("%s.timeout: want a time, have %s", at, timeout))
	}
	return errors.Join(errs...)
}

// capability is the name of one of Linux's, as Docker takes it.
var capability = regexp.MustCompile(`^[A-Z_]+$`)

// Capabilities are those of PrivilegedCapabilities.
func (r Runner) Capabilities() []string { return splitList(r.PrivilegedCapabilities) }

func (r Runner) check() error {
	for _, name := range r.Capabilities() {
		if !capability.MatchString(name) || strings.HasPrefix(name, "CAP_") {
			return fmt.Errorf("runner.privileged_capabilities: want names such as SYS_ADMIN, have %q", name)
		}
	}
	return nil
}
