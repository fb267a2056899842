package handlers

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// addressOf is where a request came from; the zero address: it can't be read.
// What X-Forwarded-For says counts as far as trusted proxies wrote it: each
// adds, at the end, who called it.
func addressOf(r *http.Request, trusted []netip.Prefix) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := plainAddress(from.Addr())
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			break
		}
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = plainAddress(before)
	}
	return addr
}

func plainAddress(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
