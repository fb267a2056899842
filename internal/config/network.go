package config

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/slipway-ci/slipway/internal/outward"
)

// Requests are those of http actions.
type Requests struct {
	Allow string `yaml:"allow" env:"SLIPWAY_REQUESTS_ALLOW" doc:"Hosts, with their port or without, and networks such as 10.0.0.0/8, comma-separated, that http actions may reach although they are this host, private or link-local."`
}

// Allowed are the hosts of Allow.
func (r Requests) Allowed() []string { return splitList(r.Allow) }

// Proxies are the networks of TrustedProxies. Check has refused what is none.
func (c *Config) Proxies() []netip.Prefix {
	var out []netip.Prefix
	for _, entry := range splitList(c.TrustedProxies) {
		if p, err := network(entry); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// network reads a network, or an address as the network of it alone.
func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

func (c *Config) checkNetwork() error {
	var errs []error
	for _, entry := range c.Requests.Allowed() {
		if err := outward.CheckAllow(entry); err != nil {
			errs = append(errs, fmt.Errorf("requests.allow: %w", err))
		}
	}
	for _, entry := range splitList(c.TrustedProxies) {
		if _, err := network(entry); err != nil {
			errs = append(errs, fmt.Errorf("trusted_proxies: want an address or a network such as 10.0.0.0/8, have %q", entry))
		}
	}
	return errors.Join(errs...)
}
