package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/internal/config"
)

const tokenFile = "token"

// ensureToken gives the configuration an admin token: the configured one, or
// one that lies in the data folder for this user's eyes only and is made at
// the first start.
func ensureToken(cfg *config.Config) error {
	if cfg.AdminToken != "" {
		return nil
	}
	if cfg.AdminToken = readToken(cfg.Data); cfg.AdminToken != "" {
		return nil
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails, see crypto/rand
	cfg.AdminToken = "slp_" + base64.RawURLEncoding.EncodeToString(raw)
	path := filepath.Join(cfg.Data, tokenFile)
	if err := os.WriteFile(path, []byte(cfg.AdminToken+"\n"), 0o600); err != nil {
		return fmt.Errorf("keeping the admin token: %w", err)
	}
	return nil
}

// readToken is the token of the server that runs on this data folder; "" if
// there is none that we may read.
func readToken(data string) string {
	text, err := os.ReadFile(filepath.Join(data, tokenFile))
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// derive makes a secret for one purpose from the admin token, so that servers
// that share the token share the secret.
func derive(cfg config.Config, purpose string) []byte {
	mac := hmac.New(sha256.New, []byte(cfg.AdminToken))
	mac.Write([]byte("slipway " + purpose))
	return mac.Sum(nil)
}

// workerToken is what runners and agents sign in with.
func workerToken(cfg config.Config) string {
	if cfg.RunnerToken != "" {
		return cfg.RunnerToken
	}
	return "slr_" + base64.RawURLEncoding.EncodeToString(derive(cfg, "worker"))
}
