package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// loaded is the default with a file's text.
func loaded(t *testing.T, text string) Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "slipway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Default("/home/x")
	if err := c.Load(file, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNotifications(t *testing.T) {
	c := loaded(t, `
notifications:
  comments: off
  statuses: only
  deployments: on
  targets:
    - {name: a, type: slack, url: "https://hooks.slack.com/services/T/B/hidden-1"}
    - {name: b, type: slack, token: xoxb-hidden-2, channel: "#x", events: ["pipeline-execution-*"]}
    - {name: c, type: webhook, url: "http://127.0.0.1:9/", secret: hidden-3, branches: ["release/**"]}
    - {name: d, type: sns, topic_arn: "arn:aws:sns:eu-west-1:1:t", access_key_id: AK, secret_access_key: hidden-4}
    - {name: e, type: mail, server: "mail.example.com:587", user: ci, password: hidden-5, from: ci@example.com, to: [ops@example.com]}
    - {name: f, type: mail, server: "mail.example.com:465", tls: tls, user: ci, password_file: /x, from: ci@example.com, to: [ops@example.com]}
`)
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if n := c.Notifications; n.Comments != "off" || n.Deployments != "on" || n.Statuses != "only" {
		t.Errorf("%+v", n)
	}
	secrets := Secrets(c)
	for _, want := range []string{"https://hooks.slack.com/services/T/B/hidden-1", "xoxb-hidden-2", "hidden-3", "hidden-4", "hidden-5"} {
		if !slices.Contains(secrets, want) {
			t.Errorf("%q is not known as a secret", want)
		}
	}
}

func TestWrongNotifications(t *testing.T) {
	c := loaded(t, `
notifications:
  comments: sometimes
  targets:
    - {name: a, type: pager}
    - {name: a, type: webhook, url: "http://example.com/s3cret"}
    - {name: "b c", type: slack, token: xoxb-1}
    - {name: d, type: sns, topic_arn: builds, access_key_id: AK, format: xml}
    - {name: e, type: webhook, url: "https://example.com/", events: [pipeline-failed], branches: ["[a"]}
    - {name: f, type: mail, server: mail.example.com, from: ci@example.com, to: [ops@example.com]}
    - {name: g, type: mail, server: "mail.example.com:25", tls: none, user: ci, password_file: /x, from: ci@example.com, to: [ops@example.com]}
    - {name: h, type: mail, server: "mail.example.com:25", from: ci, password: a, password_file: b}
`)
	err := c.Check()
	if err == nil {
		t.Fatal("all of it passes")
	}
	for _, want := range []string{
		`notifications.comments: want one of failures, on, off, have "sometimes"`,
		`notifications.targets[0].type: want one of slack, webhook, sns, mail, have "pager"`,
		`notifications.targets[1].name: want a name that no other target has`,
		`notifications.targets[1].url: want an https URL; allow_http permits plain http`,
		`notifications.targets[2].name`,
		`notifications.targets[2].channel: a bot's token goes with a channel`,
		`notifications.targets[3].topic_arn: want arn:aws:sns:REGION:ACCOUNT:TOPIC, have "builds"`,
		`access_key_id: goes together with secret_access_key`,
		`format: want event or chat, have "xml"`,
		`notifications.targets[4].events: "pipeline-failed" is none`,
		`branches: "[a" isn't a pattern`,
		`notifications.targets[5].server: want HOST:PORT, have "mail.example.com"`,
		`notifications.targets[6].tls: a password is sent with TLS only`,
		`notifications.targets[7].password: the same as password_file: want one`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no complaint %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a complaint repeats a secret: %v", err)
	}
}
