package config

import (
	"strings"
	"testing"
)

func TestServices(t *testing.T) {
	good := Service{Name: "db", Image: "postgres", Port: 5432}
	tests := []struct {
		name   string
		change func(*Project)
		want   string // in the error; empty: none
	}{
		{"a database", func(p *Project) { p.Services = []Service{good} }, ""},
		{"a name with dots", func(p *Project) { p.Services = []Service{{Name: "db.example.com", Image: "x"}} }, ""},
		{"no name", func(p *Project) { p.Services = []Service{{Image: "x"}} }, `projects[0].services[0].name: want a host name in small letters, have ""`},
		{"a name that is none", func(p *Project) { p.Services = []Service{{Name: "My DB", Image: "x"}} }, `services[0].name: want a host name`},
		{"two of a name", func(p *Project) { p.Services = []Service{good, good} }, `services[1].name: there are two of the name "db"`},
		{"the engine's name", func(p *Project) {
			p.Docker.Image, p.Services = "dind", []Service{{Name: "docker", Image: "x"}}
		}, `services[0].name: there are two of the name "docker"`},
		{"no image", func(p *Project) { p.Services = []Service{{Name: "db"}} }, "services[0].image: want an image"},
		{"port", func(p *Project) { p.Services = []Service{{Name: "db", Image: "x", Port: 65536}} }, "services[0].port: want 1 to 65535, have 65536"},
		{"both checks", func(p *Project) { p.Services = []Service{{Name: "db", Image: "x", Port: 1, Health: "true"}} }, "services[0]: want one of health and port"},
		{"variable", func(p *Project) {
			p.Services = []Service{{Name: "db", Image: "x", Variables: map[string]string{"A=B": ""}}}
		}, `services[0].variables: want names of variables, each once, have "A=B"`},
		{"secret and variable", func(p *Project) {
			p.Services = []Service{{Name: "db", Image: "x", Variables: map[string]string{"A": ""}, Secrets: map[string]string{"A": "x"}}}
		}, `services[0].secrets: want names of variables, each once, have "A"`},
		{"time", func(p *Project) { p.Services = []Service{{Name: "db", Image: "x", Timeout: -1}} }, "services[0].timeout: want a time"},
		{"compute", func(p *Project) { p.Docker = DockerEngine{Image: "x", Compute: "huge"} }, `docker.compute: "huge" is not in compute_types`},
		{"engine without image", func(p *Project) { p.Docker.Options = []string{"--debug"} }, "docker.image: want an image with dockerd"},
		{"two engines", func(p *Project) { p.Docker.Image, p.Privileged = "dind", true }, "want one of docker and privileged"},
		{"too many", func(p *Project) { p.Services = make([]Service, 11) }, "services: want at most 10, have 11"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default(t.TempDir())
			c.Projects = []Project{{Repository: "github/octo/web"}}
			tt.change(&c.Projects[0])
			err := c.Check()
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestPrivilegedCapabilities(t *testing.T) {
	for list, good := range map[string]bool{"": true, "SYS_ADMIN, NET_ADMIN": true, "CAP_SYS_ADMIN": false, "all of them": false} {
		c := Default(t.TempDir())
		c.Runner.PrivilegedCapabilities = list
		if err := c.Check(); (err == nil) != good {
			t.Errorf("%q: got %v", list, err)
		}
	}
}
