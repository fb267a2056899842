package config_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/config"
)

func TestExposure(t *testing.T) {
	tests := []struct {
		name, listen, token, client, reads string
		want                               string // in the error; empty: none
	}{
		{"loopback", "127.0.0.1:8080", "", "", "auto", ""},
		{"loopback by name", "localhost:8080", "", "", "yes", ""},
		{"loopback of version 6", "[::1]:8080", "", "", "yes", ""},
		{"every address", "0.0.0.0:8080", "", "", "auto", "no way to sign in"},
		{"every address, unnamed", ":8080", "", "", "auto", "no way to sign in"},
		{"every address of version 6", "[::]:8080", "", "", "auto", "no way to sign in"},
		{"a name", "ci.example.com:8080", "", "", "auto", "no way to sign in"},
		{"a token", "0.0.0.0:8080", "x", "", "auto", ""},
		{"people", "0.0.0.0:8080", "", "Iv23.1", "auto", ""},
		{"open reads", "0.0.0.0:8080", "x", "", "yes", "open_reads"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Config{Listen: tt.listen, AdminToken: tt.token, OpenReads: tt.reads, OAuth: config.OAuth{ClientID: tt.client}}
			err := c.CheckExposure()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSignInIsChecked(t *testing.T) {
	tests := []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"a client without a secret", func(c *config.Config) { c.OAuth.ClientID = "x" }, "go together"},
		{"a secret without a client", func(c *config.Config) { c.OAuth.ClientSecret = "x" }, "go together"},
		{"two secrets", func(c *config.Config) {
			c.OAuth = config.OAuth{ClientID: "x", ClientSecret: "y", ClientSecretFile: "z"}
		}, "want one"},
		{"no web URL", func(c *config.Config) { c.OAuth.WebURL = "github.com" }, "oauth.web_url"},
		{"a bad ID", func(c *config.Config) { c.SignIn.Admins = "ada, id:12x" }, `"id:12x"`},
		{"a team", func(c *config.Config) { c.SignIn.Admins = "octo/ops" }, `"octo/ops"`},
		{"all well", func(c *config.Config) {
			c.SignIn.Admins, c.OAuth = "ada,id:12", config.OAuth{ClientID: "x", ClientSecretFile: "/f"}
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default(t.TempDir())
			tt.change(&c)
			err := c.Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
