package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"time"

	"github.com/chromedp/chromedp"
)

const (
	// pageLogChunks makes the log that P12 names: 100 MB.
	pageLogChunks = 100
	// pageLoads is how often the page is opened; the first is a warm-up.
	pageLoads = 8
	// pageLimit bounds one load, with the browser's start.
	pageLimit = time.Minute
	// settleTime lets the server's own work after a build end.
	settleTime = 3 * time.Second
)

// benchPage is P12: how soon a real Chromium paints the page of a build with a
// log of 100 MB, at its beginning and at a line in its middle, and how much the
// server grows by showing it.
func benchPage(ctx context.Context, s settings) ([]result, error) {
	if _, err := exec.LookPath("chromium"); err != nil {
		return nil, fmt.Errorf("looking for a browser: %w", err)
	}
	e := newEngine()
	if err := e.importImage(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = e.removeImage(context.WithoutCancel(ctx)) }()
	up, err := startUp(ctx, s, "page")
	if err != nil {
		return nil, err
	}
	defer up.stop()
	sha, err := up.push(ctx, fmt.Sprintf("yes '%s' | head -c %d > /tmp/lines; i=0; while [ $i -lt %d ]; do cat /tmp/lines; i=$((i+1)); done", logLine, chunkBytes, pageLogChunks))
	if err != nil {
		return nil, err
	}
	b, err := up.built(ctx, sha, func() {})
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, settleTime); err != nil {
		return nil, err
	}
	before, err := usageOf(up.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	first, middle, err := up.paints(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	after, err := usageOf(up.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	return []result{
		atMost("P12", "page, 100 MB of log: first paint", "ms", median(first), 1000),
		atMost("P12", "page, 100 MB of log: paint at line 600,000", "ms", median(middle), 1000),
		atMost("P12", "page, 100 MB of log: growth of the server", "MB", float64(after.residentBytes-before.residentBytes)/1e6, 20),
	}, nil
}

// paints are the times of the first contentful paint of a build's page, and of
// the same page at a line in the middle.
func (u *server) paints(ctx context.Context, build string) (first, middle []time.Duration, err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	defer stop()
	ctx, closeTab := chromedp.NewContext(ctx)
	defer closeTab()
	ctx, cancel := context.WithTimeout(ctx, 2*pageLoads*pageLimit)
	defer cancel()
	address, err := u.signInAddress(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		return nil, nil, fmt.Errorf("signing in: %w", err)
	}
	page := "http://" + u.address + "/builds/" + build
	for i := range pageLoads {
		atFirst, err := paint(ctx, page)
		if err != nil {
			return nil, nil, err
		}
		atMiddle, err := paint(ctx, page+"?line=600000")
		if err != nil {
			return nil, nil, err
		}
		if i > 0 {
			first, middle = append(first, atFirst), append(middle, atMiddle)
		}
	}
	return first, middle, nil
}

// paint opens an address and waits for its first contentful paint, counted from
// the beginning of the navigation.
func paint(ctx context.Context, address string) (time.Duration, error) {
	const painted = `new Promise((done) => new PerformanceObserver((list) => {
  for (const e of list.getEntries()) if (e.name === "first-contentful-paint") done(e.startTime);
}).observe({ type: "paint", buffered: true }))`
	ctx, cancel := context.WithTimeout(ctx, pageLimit)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		return 0, fmt.Errorf("opening %s: %w", address, err)
	}
	ms, err := chromedp.Run(ctx, chromedp.Evaluate[float64](painted, chromedp.EvalAwaitPromise))
	if err != nil {
		return 0, fmt.Errorf("waiting for the paint of %s: %w", address, err)
	}
	rows, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.querySelectorAll(".line").length`))
	if err == nil && rows == 0 {
		err = errors.New("the page shows no line of the log")
	}
	return time.Duration(ms * float64(time.Millisecond)), err
}

// signInAddress is good for one sign-in.
func (u *server) signInAddress(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+u.address+"/api/v1/sign-in", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+benchToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var ticket struct{ URL string }
	if err := json.NewDecoder(res.Body).Decode(&ticket); err != nil {
		return "", fmt.Errorf("reading the sign-in address: %w", err)
	}
	return ticket.URL, nil
}
