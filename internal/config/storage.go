package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Retention says how long what has ended is kept.
type Retention struct {
	Deliveries    time.Duration `yaml:"deliveries" env:"SLIPWAY_RETENTION_DELIVERIES" doc:"How long webhooks are kept in the ledger."`
	DeliveryCount int           `yaml:"delivery_count" env:"SLIPWAY_RETENTION_DELIVERY_COUNT" doc:"About how many webhooks the ledger keeps at most."`
	Executions    time.Duration `yaml:"executions" env:"SLIPWAY_RETENTION_EXECUTIONS" doc:"How long executions, builds and deployments are kept."`
	Logs          time.Duration `yaml:"logs" env:"SLIPWAY_RETENTION_LOGS" doc:"How long logs are kept; those of a branch's last good execution stay as long as that is kept."`
	Artifacts     time.Duration `yaml:"artifacts" env:"SLIPWAY_RETENTION_ARTIFACTS" doc:"How long artifacts are kept; those of a branch's last good execution and of a group's last good deployment stay as long as those are kept."`
	Reports       time.Duration `yaml:"reports" env:"SLIPWAY_RETENTION_REPORTS" doc:"How long reports and their history are kept; the cases of one no longer than artifacts."`
}

// leastRetention leaves time for what is under way: a build takes up to 8 hours
// and may wait as long.
const leastRetention = day

func (r Retention) check() error {
	var errs []error
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"deliveries", r.Deliveries}, {"executions", r.Executions}, {"logs", r.Logs}, {"artifacts", r.Artifacts}, {"reports", r.Reports}} {
		if d.value < leastRetention {
			errs = append(errs, fmt.Errorf("retention.%s: want at least %s, have %s", d.key, leastRetention, d.value))
		}
	}
	if r.Logs > r.Executions || r.Artifacts > r.Executions {
		errs = append(errs, errors.New("retention: nobody finds logs and artifacts once their execution is gone; want executions kept at least as long"))
	}
	if r.DeliveryCount < 1 {
		errs = append(errs, fmt.Errorf("retention.delivery_count: want at least 1, have %d", r.DeliveryCount))
	}
	return errors.Join(errs...)
}

// EncryptionKeys are the local keys, the one that encrypts first. Its errors
// never show them.
func (c *Config) EncryptionKeys() ([][32]byte, error) {
	var keys [][32]byte
	for i, text := range splitList(c.EncryptionKey) {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("encryption_key: want base64 of 32 bytes, as of openssl rand -base64 32; number %d of the list isn't", i+1)
		}
		keys = append(keys, [32]byte(raw))
	}
	return keys, nil
}

// PlaintextBefore is encryption_plaintext_before; the zero time if it isn't
// set.
func (c *Config) PlaintextBefore() (time.Time, error) {
	if c.PlainBefore == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, c.PlainBefore)
	if err != nil {
		return t, fmt.Errorf("encryption_plaintext_before: want a time such as 2026-01-31T00:00:00Z, have %q", c.PlainBefore)
	}
	return t, nil
}

func (c *Config) checkStorage() error {
	_, keys := c.EncryptionKeys()
	_, before := c.PlaintextBefore()
	errs := []error{keys, before}
	if c.EncryptionKMS != "" && !strings.HasPrefix(c.EncryptionKMS, "awskms://") {
		errs = append(errs, errors.New("encryption_kms: want an address that begins with awskms://"))
	}
	if u, err := url.Parse(c.BlobURL); c.BlobURL != "" && (err != nil || u.Scheme != "file" && u.Scheme != "s3" && u.Scheme != "mem") {
		errs = append(errs, errors.New("blob_url: want an address that begins with file:// or s3://"))
	}
	return errors.Join(errs...)
}
