package config

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// SignIn says who may do everything.
type SignIn struct {
	Admins string `yaml:"admins" env:"SLIPWAY_SIGN_IN_ADMINS" doc:"People of GitHub who may do everything, comma-separated: logins, or id:NUMBER, which stays the same person's when logins change hands. All others may do what they may do with the repositories there."`
}

// List are the entries of Admins.
func (s SignIn) List() []string { return splitList(s.Admins) }

// OAuth lets people sign in with their account of GitHub.
type OAuth struct {
	ClientID         string `yaml:"client_id" env:"SLIPWAY_OAUTH_CLIENT_ID" doc:"Client ID of the GitHub App that people sign in with."`
	ClientSecret     string `yaml:"client_secret" env:"SLIPWAY_OAUTH_CLIENT_SECRET" secret:"yes" doc:"Its client secret."`
	ClientSecretFile string `yaml:"client_secret_file" env:"SLIPWAY_OAUTH_CLIENT_SECRET_FILE" doc:"File that holds the client secret, in its place."`
	WebURL           string `yaml:"web_url" env:"SLIPWAY_OAUTH_WEB_URL" doc:"Where people see GitHub. Default: derived from github.api_url."`
}

// Configured reports whether people can sign in at GitHub.
func (o OAuth) Configured() bool { return o.ClientID != "" }

func (c *Config) checkSignIn() error {
	var errs []error
	if (c.OAuth.ClientID != "") != (c.OAuth.ClientSecret != "" || c.OAuth.ClientSecretFile != "") {
		errs = append(errs, errors.New("oauth: client_id and client_secret, or client_secret_file, go together"))
	}
	if c.OAuth.ClientSecret != "" && c.OAuth.ClientSecretFile != "" {
		errs = append(errs, errors.New("oauth: client_secret and client_secret_file are the same thing: want one"))
	}
	if !isWebURL(c.OAuth.WebURL) {
		errs = append(errs, fmt.Errorf("oauth.web_url: want an http or https URL, have %q", c.OAuth.WebURL))
	}
	for _, a := range c.SignIn.List() {
		id, isID := strings.CutPrefix(a, "id:")
		if isID && (id == "" || strings.Trim(id, "0123456789") != "") || !isID && strings.ContainsAny(a, ":/ ") {
			errs = append(errs, fmt.Errorf("sign_in.admins: want logins or id:NUMBER, have %q", a))
		}
	}
	return errors.Join(errs...)
}

// CheckExposure refuses to serve other machines while nobody can sign in by
// what the configuration says, and to let them read what is open to this one.
// The token that a first start makes is for this machine.
func (c *Config) CheckExposure() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil || host == "localhost" {
		return err
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	switch {
	case c.OpenReads == "yes":
		return fmt.Errorf("listen: %s serves other machines, and open_reads: yes would let them read without signing in, since a request's Host is what its sender says: listen on 127.0.0.1, or take open_reads away", c.Listen)
	case c.AdminToken == "" && !c.OAuth.Configured():
		return fmt.Errorf("listen: %s serves other machines, and no way to sign in is configured: set admin_token (SLIPWAY_ADMIN_TOKEN) or oauth, or listen on 127.0.0.1", c.Listen)
	}
	return nil
}
