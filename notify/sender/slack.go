package sender

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/notify"
)

// slackAPI is where bots post.
const slackAPI = "https://slack.com/api/"

// Slack writes messages into a channel: through an incoming webhook, or as a
// bot, which keeps all messages of an execution in one thread.
type Slack struct {
	url, token, channel string
	client              *http.Client
}

var _ notify.Sender = (*Slack)(nil)

// NewSlackWebhook posts to an incoming webhook's URL.
func NewSlackWebhook(n Network, url string) *Slack { return &Slack{url: url, client: n.client()} }

// NewSlackBot posts to a channel with a bot's token. api is the base of Slack's
// methods; empty: Slack's own.
func NewSlackBot(n Network, api, token, channel string) *Slack {
	return &Slack{url: strings.TrimRight(cmp.Or(api, slackAPI), "/") + "/chat.postMessage", token: token, channel: channel, client: n.client()}
}

// slackPost is the body of chat.postMessage and of incoming webhooks.
type slackPost struct {
	Channel     string  `json:"channel,omitempty"`
	Thread      string  `json:"thread_ts,omitempty"`
	Text        string  `json:"text"` // of notifications
	Blocks      []block `json:"blocks"`
	UnfurlLinks bool    `json:"unfurl_links"`
}

// block is one of Block Kit's.
type block struct {
	Type     string `json:"type"`
	Text     *text  `json:"text,omitempty"`
	Elements []any  `json:"elements,omitempty"`
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type button struct {
	Type     string `json:"type"`
	Text     text   `json:"text"`
	URL      string `json:"url"`
	ActionID string `json:"action_id"`
	Style    string `json:"style,omitempty"`
}

// Send posts a message; the thread of a bot's first one is its own time.
func (s *Slack) Send(ctx context.Context, m notify.Message, thread string) (string, error) {
	body, err := json.Marshal(slackPost{Channel: s.channel, Thread: thread, Text: slackText(m.Title()), Blocks: blocks(m)})
	if err != nil {
		return "", fmt.Errorf("%w: %w", notify.ErrRefused, err)
	}
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	if s.token != "" {
		header.Set("Authorization", "Bearer "+s.token)
	}
	answer, err := post(ctx, s.client, s.url, header, body)
	if err != nil || s.token == "" {
		return "", err
	}
	return s.read(answer)
}

// passing are the errors of Slack's methods after which a repeat may help.
var passing = []string{"ratelimited", "rate_limited", "service_unavailable", "fatal_error", "internal_error", "request_timeout"}

// read is the thread that an answer to a bot names. Slack says no with 200.
func (s *Slack) read(answer []byte) (string, error) {
	var a struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
		Time  string `json:"ts"`
	}
	switch err := json.Unmarshal(answer, &a); {
	case err != nil:
		return "", &forge.RetryError{Err: errors.New("the answer isn't JSON")}
	case a.OK:
		return a.Time, nil
	case slices.Contains(passing, a.Error):
		return "", &forge.RetryError{Err: fmt.Errorf("Slack says %s", a.Error)}
	}
	return "", fmt.Errorf("%w: Slack says %.100q", notify.ErrRefused, a.Error)
}

// Slack's limits, or less.
const (
	sectionRunes = 2900
	fieldRunes   = 1900
)

// slackText escapes what Slack gives a meaning.
func slackText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func mrkdwn(s string) *text { return &text{"mrkdwn", s} }

// blocks lay a message out: what, of which commit, why, and where to go on
// (CodePipeline reference 3.15).
func blocks(m notify.Message) []block {
	list := []block{
		{Type: "header", Text: &text{"plain_text", m.Title()}},
		{Type: "context", Elements: []any{mrkdwn(contextLine(m))}},
	}
	if m.Question != "" {
		list = append(list, block{Type: "section", Text: mrkdwn(slackText(cutRunes(m.Question, fieldRunes)))})
	}
	if m.Problem != "" {
		list = append(list, block{Type: "section", Text: mrkdwn(slackText(cutRunes(m.Problem, fieldRunes)))})
	}
	if len(m.Tail) > 0 {
		tail := strings.ReplaceAll(strings.Join(m.Tail, "\n"), "```", "'''")
		list = append(list, block{Type: "section", Text: mrkdwn("```" + slackText(lastRunes(tail, fieldRunes)) + "```")})
	}
	if b := buttons(m); len(b) > 0 {
		list = append(list, block{Type: "actions", Elements: b})
	}
	return list
}

func contextLine(m notify.Message) string {
	line := slackText(m.Revision())
	if m.Author != "" {
		line += " · by " + slackText(m.Author)
	}
	if m.Subject != "" {
		line += " · " + slackText(m.Subject)
	}
	if took := m.Took(); took != "" {
		line += " · " + took
	} else {
		line += fmt.Sprintf(" · <!date^%d^{date_short_pretty} {time}|%s>", m.Time.Unix(), m.Time.Format(time.RFC3339))
	}
	return cutRunes(line, sectionRunes)
}

// buttons lead to Slipway's pages, where people sign in before they act.
func buttons(m notify.Message) []any {
	var list []any
	add := func(label, url, style string) {
		if url != "" {
			list = append(list, button{"button", text{"plain_text", label}, url, "slipway_" + strings.ToLower(strings.Fields(label)[0]), style})
		}
	}
	if m.Event == "manual-approval-needed" {
		add("Approve or reject", m.URL, "primary")
		return list
	}
	add("Open", m.URL, "")
	add("Log", m.LogURL, "")
	return list
}

func cutRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func lastRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return "…" + string(r[len(r)-n+1:])
	}
	return s
}
