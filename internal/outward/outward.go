// Package outward dials addresses that users name: those of http actions and of
// notifications. Names are judged by the address that they stand for at the
// moment of the connection, so neither a redirect nor a name that changes its
// meaning leads where the rules don't.
package outward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Rules say where connections may lead. Their zero value lets them lead to
// public addresses only.
type Rules struct {
	// Private opens this host and private networks, but no address of cloud
	// metadata.
	Private bool
	// Allow are hosts, each with its port or without, addresses and networks,
	// such as 10.0.0.0/8, that may be reached whatever they are.
	Allow []string
}

// DialTimeout is how long a connection may take to be made.
const DialTimeout = 10 * time.Second

// ErrForbidden: the address is one where connections may not lead.
var ErrForbidden = errors.New("the address is out of bounds")

// CheckAllow says what is wrong with an entry of Rules.Allow.
func CheckAllow(entry string) error {
	if !strings.Contains(entry, "/") {
		return nil
	}
	if _, err := netip.ParsePrefix(entry); err != nil {
		return fmt.Errorf("want a host, HOST:PORT, or a network such as 10.0.0.0/8, have %q", entry)
	}
	return nil
}

// Dial connects if the rules let it. An error that ErrForbidden is of says what
// kind of address it was, and not which.
func (r Rules) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: DialTimeout}
	if !slices.Contains(r.Allow, host) && !slices.Contains(r.Allow, address) {
		d.Control = func(_, real string, _ syscall.RawConn) error { return r.judge(real) }
	}
	return d.DialContext(ctx, network, address)
}

// judge decides about an address with its port.
func (r Rules) judge(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrForbidden
	}
	ip := embedded(a.Addr().WithZone("").Unmap())
	for _, entry := range r.Allow {
		if network, err := netip.ParsePrefix(entry); err == nil && network.Contains(ip) {
			return nil
		}
	}
	switch {
	case within(ip, never):
		return fmt.Errorf("%w: it is link-local, of cloud metadata, or nobody's", ErrForbidden)
	case within(ip, private) && !r.Private:
		return fmt.Errorf("%w: it is this host's or of a private network", ErrForbidden)
	}
	return nil
}

var (
	private = prefixes("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "100.64.0.0/10", "198.18.0.0/15")
	// never are link-local addresses, multicast, what stands for no host, and
	// where clouds keep metadata beside the link-local ones.
	never = prefixes("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "192.0.0.0/24",
		"0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")
	// translated hold an IPv4 address from the byte at which they end: NAT64
	// (RFC 6052), 6to4 (RFC 3056), and IPv4-compatible addresses.
	translated = prefixes("64:ff9b::/96", "2002::/16", "::/96")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func within(ip netip.Addr, list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// embedded is the IPv4 address to which an IPv6 address leads by translation,
// and any other address itself.
func embedded(ip netip.Addr) netip.Addr {
	if !ip.Is6() || ip.IsLoopback() || ip.IsUnspecified() {
		return ip
	}
	for _, p := range translated {
		if p.Contains(ip) {
			b, from := ip.As16(), p.Bits()/8
			return netip.AddrFrom4([4]byte(b[from : from+4]))
		}
	}
	return ip
}
