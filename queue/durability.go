package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Mode is how the server makes sure that an accepted delivery outlives it.
type Mode string

// The modes, the best first.
const (
	// DurableByAcknowledgement: each write waits for the server's word that it
	// is on disk (WAITAOF, Redis 7.2 and newer).
	DurableByAcknowledgement Mode = "waitaof"
	// DurableAlways: the server syncs before it answers (appendfsync always).
	DurableAlways Mode = "always"
	// NotDurable: what was accepted may be lost when the server dies.
	NotDurable Mode = "none"
)

// Durability is what a readiness check wants to know of the server.
type Durability struct {
	Mode    Mode
	Version string // empty: the server doesn't say
	// Warnings are what an operator should change, in words.
	Warnings []string
}

// Durability asks the server; the answer holds for later calls of Receive and
// Submit.
func (in *Inbox) Durability(ctx context.Context) (Durability, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	d, err := inspect(ctx, in.rdb)
	if err != nil {
		return Durability{}, fmt.Errorf("asking redis how durable it is: %w", err)
	}
	in.mu.Lock()
	in.durability, in.inspected = d, true
	in.mu.Unlock()
	return d, nil
}

// mode is the mode as last found.
func (in *Inbox) mode(ctx context.Context) (Mode, error) {
	in.mu.Lock()
	d, known := in.durability, in.inspected
	in.mu.Unlock()
	if known {
		return d.Mode, nil
	}
	d, err := in.Durability(ctx)
	return d.Mode, err
}

func inspect(ctx context.Context, rdb redis.UniversalClient) (Durability, error) {
	node, err := nodeOf(ctx, rdb, refusedKey())
	if err != nil {
		return Durability{}, err
	}
	d := Durability{Mode: NotDurable}
	// An error of the server's own (no such command or setting, no permission)
	// is an answer; anything else is a server that can't be asked.
	info, err := node.InfoMap(ctx, "server").Result()
	if unanswered(err) {
		return d, err
	}
	d.Version = info["Server"]["redis_version"]
	settings := map[string]string{}
	for _, name := range []string{"appendonly", "appendfsync", "maxmemory-policy", "maxmemory"} {
		got, err := node.ConfigGet(ctx, name).Result()
		if unanswered(err) {
			return d, err
		}
		settings[name] = got[name]
	}
	if settings["appendonly"] == "yes" && settings["appendfsync"] == "always" {
		d.Mode = DurableAlways
	} else if err := node.Do(ctx, "WAITAOF", 1, 0, 1).Err(); err == nil {
		d.Mode = DurableByAcknowledgement
	} else if unanswered(err) {
		return d, err
	}
	d.Warnings = warnings(d, settings)
	return d, nil
}

// unanswered says whether an error isn't the server's answer.
func unanswered(err error) bool {
	if err == nil {
		return false
	}
	var answer redis.Error
	return !errors.As(err, &answer)
}

func warnings(d Durability, settings map[string]string) []string {
	var all []string
	if d.Mode == NotDurable {
		all = append(all, "accepted deliveries may be lost when redis dies: set appendonly yes, and appendfsync always unless it is 7.2 or newer")
	}
	if p := settings["maxmemory-policy"]; p != "" && p != "noeviction" && settings["maxmemory"] != "0" {
		all = append(all, "redis may evict state when its memory is full: set maxmemory-policy noeviction, not "+p)
	}
	if fix := fixedIn(d.Version); fix != "" {
		all = append(all, "redis "+d.Version+" has known holes unless your distributor mended them: want "+fix+" or newer")
	}
	return all
}

// fixedIn is the release of the version's own branch that mends what is known
// (CVE-2025-49844 and, from 7.2 on, CVE-2026-23479); empty: it is mended, or
// the version isn't known.
func fixedIn(version string) string {
	v := numbers(version)
	if v == nil {
		return ""
	}
	fixed := "8.6.3"
	if v[0] < 7 || v[0] == 7 && v[1] < 2 {
		fixed = "6.2.20"
		if v[0] == 7 {
			fixed = "8.6.3" // 7.0 gets no more releases
		}
	}
	for i, n := range numbers(fixed) {
		if v[i] != n {
			if v[i] < n {
				return fixed
			}
			return ""
		}
	}
	return ""
}

// numbers are a version's first three numbers, nil if it has none.
func numbers(version string) []int {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) != 3 {
		return nil
	}
	all := make([]int, 3)
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil {
			return nil
		}
		all[i] = n
	}
	return all
}

// nodeOf is the one server that holds a key.
func nodeOf(ctx context.Context, rdb redis.UniversalClient, key string) (redis.UniversalClient, error) {
	if c, ok := rdb.(*redis.ClusterClient); ok {
		node, err := c.MasterForKey(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("finding the cluster's node: %w", err)
		}
		return node, nil
	}
	return rdb, nil
}
