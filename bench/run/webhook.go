package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const secret = "0123456789abcdef0123456789abcdef-bench"

// benchWebhook is P1: Slipway's receiver against the floor program, on one
// Redis, in turns.
func benchWebhook(ctx context.Context, s settings) ([]result, error) {
	redis, url, err := startRedis(ctx, s.dir)
	if err != nil {
		return nil, err
	}
	defer redis.stop()
	floor, floorURL, err := startFloor(ctx, s, url)
	if err != nil {
		return nil, err
	}
	defer floor.stop()
	server, serverURL, err := startServer(ctx, s, url)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	l := load{body: pushBody(), clients: s.clients}
	sides := []*side{{url: serverURL}, {url: floorURL}}
	for _, side := range sides { // warm up
		if err := l.round(ctx, side.url, s.round/4, &side.warm); err != nil {
			return nil, err
		}
	}
	for round := range s.rounds {
		for i := range sides {
			side := sides[(round+i)%2] // whoever goes first has an emptier Redis
			if err := l.round(ctx, side.url, s.round, &side.tally); err != nil {
				return nil, err
			}
		}
	}
	return webhookResults(&sides[0].tally, &sides[1].tally), nil
}

type side struct {
	url         string
	warm, tally tally
}

func webhookResults(ours, floor *tally) []result {
	refused := atMost("P1", "webhook: answers other than 2xx", "answers", float64(ours.bad), 0)
	refused.Floor = float64(floor.bad)
	return []result{
		against("P1", "webhook: rate", "1/s", ours.rate(), floor.rate(), 0.85, false),
		{Aim: "P1", What: "webhook: p50", Unit: "ms", Value: ours.at(0.5), Floor: floor.at(0.5), Ratio: ours.at(0.5) / floor.at(0.5)},
		against("P1", "webhook: p99", "ms", ours.at(0.99), floor.at(0.99), 1.25, true),
		refused,
	}
}

func startFloor(ctx context.Context, s settings, redisURL string) (*process, string, error) {
	program := filepath.Join(s.dir, "floor")
	if err := goBuild(ctx, program, "./bench/floor/webhook"); err != nil {
		return nil, "", err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	p, err := start(s.dir, program, []string{"-listen", address, "-redis", redisURL, "-secret", secret}, nil)
	return ready(ctx, p, address, err)
}

func startServer(ctx context.Context, s settings, redisURL string) (*process, string, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	p, err := start(s.dir, s.slipway, []string{"server"}, []string{
		"SLIPWAY_LISTEN=" + address, "SLIPWAY_EXTERNAL_URL=http://" + address, "SLIPWAY_REDIS_URL=" + redisURL,
		"SLIPWAY_DATA=" + filepath.Join(s.dir, "server"), "SLIPWAY_GITHUB_WEBHOOK_SECRET=" + secret, "SLIPWAY_LOG=error",
	})
	return ready(ctx, p, address, err)
}

func ready(ctx context.Context, p *process, address string, err error) (*process, string, error) {
	if err != nil {
		return nil, "", err
	}
	if err := p.await(ctx, func() bool { return healthy(address) }); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, "http://" + address + "/webhooks/github", nil
}

// load posts the same signed body over and over, each time with a delivery ID
// of its own.
type load struct {
	body    []byte
	clients int
}

// tally is what came of one side's rounds.
type tally struct {
	took    []time.Duration
	bad     int
	elapsed time.Duration
}

func (t *tally) rate() float64 { return float64(len(t.took)) / t.elapsed.Seconds() }

// at is a quantile in milliseconds.
func (t *tally) at(q float64) float64 { return milliseconds(quantile(t.took, q)) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (l load) round(ctx context.Context, url string, d time.Duration, into *tally) error {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(l.body)
	signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	transport := &http.Transport{MaxIdleConnsPerHost: l.clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()

	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for range l.clients {
		wg.Go(func() {
			mine := l.post(ctx, client, url, signature)
			mu.Lock()
			defer mu.Unlock()
			into.took = append(into.took, mine.took...)
			into.bad += mine.bad
		})
	}
	wg.Wait()
	into.elapsed += time.Since(begin)
	if len(into.took) == 0 {
		return fmt.Errorf("%s answered nothing within %s", url, d)
	}
	return nil
}

// post is one client until ctx is over.
func (l load) post(ctx context.Context, client *http.Client, url, signature string) tally {
	var t tally
	for ctx.Err() == nil {
		req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(l.body))
		if err != nil {
			panic(err) // the URL is ours
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", "GitHub-Hookshot/bench")
		req.Header.Set("X-GitHub-Event", "push")
		req.Header.Set("X-GitHub-Delivery", deliveryID())
		req.Header.Set("X-Hub-Signature-256", signature)
		begin := time.Now()
		res, err := client.Do(req)
		if err != nil {
			t.bad++
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		t.took = append(t.took, time.Since(begin))
		if res.StatusCode/100 != 2 {
			t.bad++
		}
	}
	return t
}

// deliveryID is a random UUID, as GitHub names its deliveries.
func deliveryID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// pushBody is a push of 10 KB. It moves a tag, which triggers nothing, so that
// receiving is what is measured.
func pushBody() []byte {
	zero, sha := strings.Repeat("0", 40), strings.Repeat("c0ffee12", 5)
	user := map[string]any{"id": 583231, "login": "octocat", "type": "User", "html_url": "https://github.com/octocat"}
	var commits []any
	for i := range 20 {
		commits = append(commits, map[string]any{
			"id": fmt.Sprintf("%040x", i+1), "message": fmt.Sprintf("Change number %d of a long afternoon", i),
			"timestamp": "2026-03-01T12:00:00Z", "url": fmt.Sprintf("https://github.com/octo/app/commit/%040x", i+1),
			"author": map[string]any{"name": "Octo Cat", "email": "octocat@example.com", "username": "octocat"},
			"added":  []string{fmt.Sprintf("src/module-%d/new.go", i)}, "removed": []string{},
			"modified": []string{"README.md", fmt.Sprintf("src/module-%d/changed.go", i)},
		})
	}
	push := map[string]any{
		"ref": "refs/tags/bench", "before": zero, "after": sha, "created": true, "deleted": false, "forced": false,
		"repository": map[string]any{
			"id": 1296269, "name": "app", "full_name": "octo/app", "private": false, "default_branch": "main",
			"owner": user, "html_url": "https://github.com/octo/app", "clone_url": "https://github.com/octo/app.git",
		},
		"sender": user, "pusher": map[string]any{"name": "octocat", "email": "octocat@example.com"},
		"installation": map[string]any{"id": 5}, "commits": commits, "head_commit": commits[0],
		"padding": "",
	}
	body := marshal(push)
	push["padding"] = strings.Repeat("x", max(0, 10<<10-len(body)))
	return marshal(push)
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return data
}
