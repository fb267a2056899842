package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/testenv"
)

// webServer is a server over the fake GitHub, on a loopback port.
func webServer(t *testing.T, cfg config.Config) (address string, signIn func() string) {
	t.Helper()
	var front http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { front.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	cfg.ExternalURL, cfg.Listen = server.URL, strings.TrimPrefix(server.URL, "http://")
	if err := findSecrets(&cfg); err != nil {
		t.Fatal(err)
	}
	p, err := newPlatform(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	h, err := p.handler(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Drain)
	front = h
	return server.URL, func() string { return server.URL + h.SignInPath() }
}

// TestAppFromTheSetUpPage makes an App in a browser, restarts, and signs in
// with it.
func TestAppFromTheSetUpPage(t *testing.T) {
	testenv.Need(t, "chromium")
	g := forgetest.NewGitHub(t, forgetest.Options{Spec: testenv.Shared(t, "openapi/github.json")})
	g.SitDown("ada")
	cfg := config.Default(t.TempDir())
	cfg.Data, cfg.AdminToken, cfg.Redis.Durability = t.TempDir(), "the admin token of this test", "relaxed"
	embedded, err := startEmbedded(t.Context(), cfg.Data, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(embedded.close)
	cfg.GitHub.APIURL, cfg.Redis.URL = g.URL, embedded.url
	cfg.SignIn.Admins = "ada"

	address, signIn := webServer(t, cfg)
	ctx := chromium(t)
	do(t, ctx, chromedp.Navigate(signIn()), chromedp.Navigate(address+"/setup/github"), chromedp.WaitVisible(chromedp.CSS("#manifest")),
		chromedp.Click(chromedp.CSS("#manifest button")), chromedp.Click(chromedp.CSS("ol details summary")), chromedp.WaitVisible(chromedp.CSS("ol details pre")))
	page := read(t, ctx)
	for _, want := range []string{"is made", "Restart Slipway", "private_key_file", "client_id: Iv23."} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page:\n%s", want, page)
		}
	}
	folder := filepath.Join(cfg.Data, appFolder)
	for _, name := range []string{appFile, appKey, appHookSecret, appSecret} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || name != appFile && strings.Contains(page, strings.TrimSpace(string(text))) {
			t.Errorf("%s is on the page, or unreadable: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.Data, appFolder+"-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	again := cfg
	if err := findSecrets(&again); err != nil || again.GitHub.AppID == 0 || again.GitHub.WebhookSecret == "" || again.OAuth.ClientSecret == "" {
		t.Fatalf("a restart finds App %d, %v", again.GitHub.AppID, err)
	}
	if err := again.Check(); err != nil {
		t.Errorf("what a restart finds: %v", err)
	}
	own := again
	own.OAuth.ClientID, own.OAuth.ClientSecret = "Iv23.test", "s3cret"
	address, _ = webServer(t, own)
	g.AddOAuth(forgetest.OAuthApp{ClientID: "Iv23.test", ClientSecret: "s3cret", Callbacks: []string{address + "/login/callback"}})
	// The session is the same to servers that share Redis and the admin token.
	do(t, ctx, chromedp.Navigate(address+"/audit"), chromedp.Click(chromedp.CSS(".top form button")), chromedp.WaitVisible(chromedp.CSS("form.signin")))
	do(t, ctx, chromedp.Navigate(address+"/audit"), chromedp.Click(chromedp.CSS(`a[href^="/login"]`)), chromedp.WaitVisible(chromedp.CSS("#list .row")))
	if page := read(t, ctx); !strings.Contains(page, "signed in") || !strings.Contains(page, "ada") || !strings.Contains(page, "made the GitHub App") {
		t.Errorf("the audit page after signing in at GitHub:\n%s", page)
	}
}

func chromium(t *testing.T) context.Context {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{chromedp.UserDataDir(t.TempDir())}
	for _, flag := range []string{"headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	return ctx
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, ctx context.Context) string {
	t.Helper()
	text, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
