package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/redact"
	"github.com/slipway-ci/slipway/notify"
	"github.com/slipway-ci/slipway/notify/sender"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store"
)

// teller tells somebody how executions stand, until its context ends.
type teller interface {
	Run(ctx context.Context) error
}

// announcements is the store whose marks also reach everybody else who is to
// hear of an execution. A mark may be repeated: the effect that asks for it
// stays until all are made.
type announcements struct {
	*store.Store
	lists map[string][]string // by forge; under "" those of all forges
}

// MarkReport marks the execution for its forge and for all other lists.
func (a *announcements) MarkReport(ctx context.Context, forge string, installation int64, execution string) error {
	lists := append([]string{forge}, a.lists[forge]...)
	for _, list := range append(lists, a.lists[""]...) {
		if err := a.Store.MarkReport(ctx, list, installation, execution); err != nil {
			return err
		}
	}
	return nil
}

// targetList names the list of what a target is to be told.
func targetList(t config.Target) string { return "target:" + t.Name }

// newSender is the way to a target.
func newSender(ctx context.Context, n sender.Network, t config.Target, externalURL string) (notify.Sender, error) {
	switch {
	case t.Type == "slack" && t.Token != "":
		return sender.NewSlackBot(n, t.API, t.Token, t.Channel), nil
	case t.Type == "slack":
		return sender.NewSlackWebhook(n, t.URL), nil
	case t.Type == "webhook":
		return sender.NewWebhook(n, t.URL, t.Secret, externalURL), nil
	case t.Type == "mail":
		return newMail(n, t, externalURL)
	}
	return sender.NewTopic(ctx, sender.TopicOptions{
		Network: n, ARN: t.TopicARN, Region: t.Region, Endpoint: t.Endpoint, AccessKey: t.AccessKey, SecretKey: t.SecretKey,
		Chat: t.Format == "chat", Source: externalURL,
	})
}

// newMail is the way to people's mailboxes.
func newMail(n sender.Network, t config.Target, externalURL string) (notify.Sender, error) {
	o := t.Mail()
	o.Network, o.Source = n, externalURL
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		if o.Roots, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("ca_file: reading whom this host trusts: %w", err)
		}
		if !o.Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate", t.CAFile)
		}
	}
	return sender.NewMail(o)
}

// wireTargets makes one Target for each of the configuration's.
func (p *platform) wireTargets(ctx context.Context) error {
	mask := redact.New(config.Secrets(p.cfg)...)
	p.targets = map[string]*notify.Target{}
	network := sender.Network{Private: p.cfg.Notifications.AllowPrivateTargets}
	for i, t := range p.cfg.Notifications.Targets {
		way, err := newSender(ctx, network, t, p.cfg.ExternalURL)
		if err != nil {
			return usage(fmt.Errorf("notifications.targets[%d]: %w", i, err))
		}
		p.targets[t.Name] = notify.NewTarget(p.store.Reports(targetList(t)), p.store, cemetery{p.store}, notify.TargetOptions{
			Name: t.Name, Address: t.Address(), Sender: way, Filter: t.Filter(), BaseURL: p.cfg.ExternalURL, Mask: mask.String, Log: p.log,
		})
	}
	return nil
}

// cemetery keeps the messages that targets did not take.
type cemetery struct{ store *store.Store }

func (c cemetery) Bury(ctx context.Context, d notify.DeadMessage) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return c.store.AddDeadMessage(ctx, data)
}

// messagePrefix begins the IDs of dead messages, among those of the inbox.
const messagePrefix = "message-"

// deadMessages lists the messages that targets did not take.
func (p *platform) deadMessages(ctx context.Context, limit int, after string) ([]handlers.DeadLetter, error) {
	found, err := p.store.DeadMessages(ctx, limit, strings.TrimPrefix(after, messagePrefix))
	out := make([]handlers.DeadLetter, 0, len(found))
	for _, f := range found {
		var d notify.DeadMessage
		if err := json.Unmarshal(f.Data, &d); err != nil {
			return nil, fmt.Errorf("reading dead message %s: %w", f.ID, err)
		}
		entry, err := json.Marshal(map[string]string{"target": d.Target, "execution": d.Message.Execution, "event": d.Message.Event, "title": d.Message.Title()})
		if err != nil {
			return nil, err
		}
		out = append(out, handlers.DeadLetter{
			ID: messagePrefix + f.ID, Queue: "notification", Reason: d.Target + ": " + d.Reason, Attempts: d.Attempts, FailedAt: d.FailedAt, Entry: entry,
		})
	}
	return out, err
}

// resend sends a dead message once more and takes it off the list if the
// target has it then.
func (p *platform) resend(ctx context.Context, id string) error {
	id = strings.TrimPrefix(id, messagePrefix)
	found, err := p.store.DeadMessage(ctx, id)
	if err != nil {
		return err
	}
	var d notify.DeadMessage
	if err := json.Unmarshal(found.Data, &d); err != nil {
		return fmt.Errorf("reading dead message %s: %w", id, err)
	}
	t := p.targets[d.Target]
	if t == nil {
		return &pipeline.UserError{Code: "NO_TARGET", Msg: fmt.Sprintf("no target is called %q any more", d.Target)}
	}
	if err := t.Resend(ctx, d.Message); err != nil {
		if errors.Is(err, notify.ErrRefused) {
			return &pipeline.UserError{Code: "REFUSED", Msg: err.Error()}
		}
		return &pipeline.UserError{Code: "NOT_DELIVERED", Msg: "the target can't be reached: " + err.Error()}
	}
	return p.store.DropDeadMessage(ctx, id)
}
