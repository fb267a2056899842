package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/forge/github"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/internal/config"
)

// The files of an App that was made from a manifest, in a folder of the data
// folder. All have mode 0600.
const (
	appFolder     = "github-app"
	appFile       = "app.json"
	appKey        = "private-key.pem"
	appHookSecret = "webhook-secret"
	appSecret     = "client-secret"
)

// madeApp is app.json: what isn't secret.
type madeApp struct {
	V        int    `json:"v"`
	ID       int64  `json:"app_id"`
	Slug     string `json:"slug"`
	ClientID string `json:"client_id"`
	API      string `json:"api_url"`
}

// appSetup makes the server's GitHub App.
type appSetup struct {
	cfg    config.Config
	client *github.Client
}

func (a appSetup) folder() string { return filepath.Join(a.cfg.Data, appFolder) }

// Done says that there is an App, or one that waits for a restart.
func (a appSetup) Done() bool {
	_, err := os.Stat(a.folder())
	return a.cfg.GitHub.AppID != 0 || !errors.Is(err, fs.ErrNotExist)
}

// Form is what a browser posts to GitHub.
func (a appSetup) Form(organization, state string) (address, manifest string, err error) {
	address, err = github.NewAppURL(a.client, a.cfg.OAuth.WebURL, organization, state)
	if err != nil {
		return "", "", err
	}
	text, err := github.Manifest(a.cfg.ExternalURL)
	return address, string(text), err
}

// Finish fetches the App that GitHub made and keeps it in the data folder.
func (a appSetup) Finish(ctx context.Context, code string) (handlers.App, error) {
	app, err := github.Convert(ctx, a.client, code)
	if err != nil {
		return handlers.App{}, err
	}
	if err := a.keep(app); err != nil {
		return handlers.App{}, fmt.Errorf("keeping the GitHub App: %w", err)
	}
	install := ""
	if web := github.CloneBase(a.cfg.GitHub.APIURL); strings.HasPrefix(app.URL, orDefault(a.cfg.OAuth.WebURL, web)) {
		install = app.URL + "/installations/new"
	}
	return handlers.App{Name: app.Slug, InstallURL: install, Folder: a.folder(), Settings: a.settings(app)}, nil
}

// settings name the files to a server that has copies of them.
func (a appSetup) settings(app github.App) string {
	return fmt.Sprintf(`github:
  app_id: %d
  private_key_file: %s
  webhook_secret_file: %s
oauth:
  client_id: %s
  client_secret_file: %s
`, app.ID, filepath.Join(a.folder(), appKey), filepath.Join(a.folder(), appHookSecret), app.ClientID, filepath.Join(a.folder(), appSecret))
}

// keep writes all files or none: the folder gets its name when they are there.
func (a appSetup) keep(app github.App) error {
	facts, err := json.MarshalIndent(madeApp{1, app.ID, app.Slug, app.ClientID, a.cfg.GitHub.APIURL}, "", "  ")
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(a.cfg.Data, appFolder+"-*") // mode 0700
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		appFile: string(facts), appKey: app.Key, appHookSecret: app.WebhookSecret, appSecret: app.ClientSecret, "slipway.yaml": a.settings(app),
	} {
		if err := writePrivate(filepath.Join(work, name), text); err != nil {
			return errors.Join(err, os.RemoveAll(work))
		}
	}
	if err := os.Rename(work, a.folder()); err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	return nil
}

// writePrivate writes a file for this user's eyes only, onto the disk.
func writePrivate(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Sync(), f.Close())
}

// findSecrets completes the configuration with what lies in files: the secrets
// that it names files of, and the App that was made on the set-up page, unless
// another one is configured.
func findSecrets(cfg *config.Config) error {
	for key, s := range map[string]struct {
		file string
		to   *string
	}{
		"github.webhook_secret_file": {cfg.GitHub.WebhookSecretFile, &cfg.GitHub.WebhookSecret},
		"oauth.client_secret_file":   {cfg.OAuth.ClientSecretFile, &cfg.OAuth.ClientSecret},
	} {
		if s.file == "" {
			continue
		}
		if err := readSecret(s.file, s.to); err != nil {
			return usage(fmt.Errorf("%s: %w", key, err))
		}
	}
	for i := range cfg.Notifications.Targets {
		t := &cfg.Notifications.Targets[i]
		if t.PasswordFile == "" {
			continue
		}
		if err := readSecret(t.PasswordFile, &t.Password); err != nil {
			return usage(fmt.Errorf("notifications.targets[%d].password_file: %w", i, err))
		}
	}
	if cfg.GitHub.AppID != 0 {
		return nil
	}
	folder := filepath.Join(cfg.Data, appFolder)
	text, err := os.ReadFile(filepath.Join(folder, appFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var app madeApp
	if err == nil {
		err = json.Unmarshal(text, &app)
	}
	if err != nil {
		return usage(fmt.Errorf("reading the GitHub App in %s: %w", folder, err))
	}
	if app.API != cfg.GitHub.APIURL {
		return nil // it is another GitHub's
	}
	cfg.GitHub.AppID, cfg.GitHub.PrivateKeyFile = app.ID, filepath.Join(folder, appKey)
	if cfg.GitHub.WebhookSecret == "" {
		if err := readSecret(filepath.Join(folder, appHookSecret), &cfg.GitHub.WebhookSecret); err != nil {
			return usage(err)
		}
	}
	if cfg.OAuth.ClientID != "" {
		return nil
	}
	cfg.OAuth.ClientID = app.ClientID
	return usage(readSecret(filepath.Join(folder, appSecret), &cfg.OAuth.ClientSecret))
}

const secretLimitBytes = 4 << 10

func readSecret(path string, to *string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, secretLimitBytes))
	if err != nil {
		return err
	}
	if *to = strings.TrimSpace(string(text)); *to == "" {
		return fmt.Errorf("%s is empty", path)
	}
	return nil
}

// login lets people sign in at GitHub, if that is configured.
func (p *platform) login() (*handlers.Login, error) {
	if !p.cfg.OAuth.Configured() {
		return nil, nil
	}
	o, err := github.NewOAuth(p.forges.github, p.cfg.OAuth.WebURL, p.cfg.OAuth.ClientID, p.cfg.OAuth.ClientSecret)
	if err != nil {
		return nil, usage(fmt.Errorf("oauth: %w", err))
	}
	return &handlers.Login{Forge: githubForge, Title: "GitHub", Admins: p.cfg.SignIn.List(), OAuth: o}, nil
}
