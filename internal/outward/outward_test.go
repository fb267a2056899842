package outward

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// Attacks: 17, 21.
func TestWhereConnectionsMayLead(t *testing.T) {
	tests := []struct {
		name, address string
		public        bool // by the zero Rules
		private       bool // where private networks are open
	}{
		{"public", "93.184.216.34", true, true},
		{"public, IPv6", "2606:2800:220:1::1", true, true},
		{"this host", "127.0.0.1", false, true},
		{"this host by another name", "127.8.9.10", false, true},
		{"this host, IPv6", "::1", false, true},
		{"this host, IPv4 in IPv6", "::ffff:127.0.0.1", false, true},
		{"this host, IPv4-compatible", "::127.0.0.1", false, true},
		{"RFC 1918, 10/8", "10.1.2.3", false, true},
		{"RFC 1918, 172.16/12", "172.31.255.255", false, true},
		{"beside RFC 1918", "172.32.0.1", true, true},
		{"RFC 1918, 192.168/16", "192.168.1.1", false, true},
		{"RFC 4193", "fd12:3456::1", false, true},
		{"carriers' NAT", "100.64.0.1", false, true},
		{"through NAT64", "64:ff9b::10.0.0.1", false, true},
		{"through 6to4", "2002:a00:1::", false, true},
		{"metadata", "169.254.169.254", false, false},
		{"metadata through NAT64", "64:ff9b::169.254.169.254", false, false},
		{"metadata of AWS, IPv6", "fd00:ec2::254", false, false},
		{"metadata of Alibaba", "100.100.100.200", false, false},
		{"metadata of Oracle", "192.0.0.192", false, false},
		{"link-local, IPv6", "fe80::1", false, false},
		{"link-local, with a zone", "fe80::1%eth0", false, false},
		{"unspecified", "0.0.0.0", false, false},
		{"unspecified, IPv6", "::", false, false},
		{"multicast", "224.0.0.1", false, false},
		{"broadcast", "255.255.255.255", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := netip.AddrPortFrom(netip.MustParseAddr(tt.address), 80).String()
			if err := (Rules{}).judge(at); (err == nil) != tt.public {
				t.Errorf("by the zero rules: %v", err)
			}
			if err := (Rules{Private: true}).judge(at); (err == nil) != tt.private {
				t.Errorf("where private networks are open: %v", err)
			}
		})
	}
	if err := (Rules{}).judge("what is this"); !errors.Is(err, ErrForbidden) {
		t.Errorf("what is no address: %v", err)
	}
}

func TestDialJudgesWhatTheNameStandsFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rules Rules
		host  string
		ok    bool
	}{
		{Rules{}, "localhost", false},
		{Rules{}, "127.0.0.1", false},
		{Rules{Allow: []string{"elsewhere"}}, "localhost", false},
		{Rules{Allow: []string{"localhost"}}, "localhost", true},
		{Rules{Allow: []string{"localhost"}}, "127.0.0.1", false},
		{Rules{Allow: []string{"127.0.0.1:1"}}, "127.0.0.1", false},
		{Rules{Allow: []string{"127.0.0.1:" + port}}, "127.0.0.1", true},
		{Rules{Allow: []string{"127.0.0.0/8"}}, "localhost", true},
		{Rules{Allow: []string{"10.0.0.0/8"}}, "localhost", false},
		{Rules{Private: true}, "localhost", true},
	} {
		c, err := tt.rules.Dial(t.Context(), "tcp4", net.JoinHostPort(tt.host, port))
		if err == nil {
			c.Close()
		}
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%+v to %s: %v", tt.rules, tt.host, err)
		}
	}
}

func TestCheckAllow(t *testing.T) {
	for entry, ok := range map[string]bool{"host": true, "host:80": true, "10.0.0.0/8": true, "fd00::/8": true, "10.0.0.0/33": false, "http://host": false} {
		if err := CheckAllow(entry); (err == nil) != ok {
			t.Errorf("%q: %v", entry, err)
		}
	}
}
