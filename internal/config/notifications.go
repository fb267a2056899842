package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/notify"
	"github.com/slipway-ci/slipway/notify/sender"
)

// Notifications say who hears how executions stand, and where.
type Notifications struct {
	Comments    string `yaml:"comments" env:"SLIPWAY_NOTIFICATIONS_COMMENTS" doc:"The comment on a pull request that sums up its executions: failures (from the first that fails or waits for people), on or off."`
	Statuses    string `yaml:"statuses" env:"SLIPWAY_NOTIFICATIONS_STATUSES" doc:"Commit statuses: auto (where there can be no check runs), also (beside check runs) or only (instead of them)."`
	Deployments string `yaml:"deployments" env:"SLIPWAY_NOTIFICATIONS_DEPLOYMENTS" doc:"Whether deployments of pipelines show at the forge as deployments to their environment: on or off."`
	// AllowPrivateTargets is for targets that a name leads to.
	AllowPrivateTargets bool     `yaml:"allow_private_targets" env:"SLIPWAY_NOTIFICATIONS_ALLOW_PRIVATE_TARGETS" doc:"Whether names of targets may lead to this host and to private networks. An address that a target has in numbers, or localhost, needs no permission."`
	Targets             []Target `yaml:"targets" doc:"Slack channels, webhooks, SNS topics and people with mail who are told of changes."`
}

// Target is one place that is told of changes.
type Target struct {
	Name string `yaml:"name"`
	Type string `yaml:"type"` // slack, webhook, sns or mail
	// URL is a webhook's address, or that of Slack's incoming webhook.
	URL       string `yaml:"url" secret:"yes"`
	AllowHTTP bool   `yaml:"allow_http"`
	Secret    string `yaml:"secret" secret:"yes"` // of webhook: the key of its signatures
	// Token and Channel are a Slack bot's; API replaces https://slack.com/api/.
	Token   string `yaml:"token" secret:"yes"`
	Channel string `yaml:"channel"`
	API     string `yaml:"api"`
	// Of sns; without keys the SDK's usual places hold them.
	TopicARN  string `yaml:"topic_arn"`
	Region    string `yaml:"region"`
	Endpoint  string `yaml:"endpoint"`
	AccessKey string `yaml:"access_key_id" secret:"yes"`
	SecretKey string `yaml:"secret_access_key" secret:"yes"`
	Format    string `yaml:"format"` // event [default], or chat for AWS's chat bridge
	// Of mail: HOST:PORT of the server, how it is spoken to, and who vouches for it
	// beside those whom the host trusts.
	Server       string   `yaml:"server"`
	TLS          string   `yaml:"tls"` // starttls [default], tls or none
	CAFile       string   `yaml:"ca_file"`
	User         string   `yaml:"user"`
	Password     string   `yaml:"password" secret:"yes"`
	PasswordFile string   `yaml:"password_file"`
	From         string   `yaml:"from"`
	To           []string `yaml:"to"`
	// The filter. An empty list selects all; of events, those that end an
	// execution or wait for people.
	Events       []string `yaml:"events"`
	Repositories []string `yaml:"repositories"` // FORGE/OWNER/NAME
	Pipelines    []string `yaml:"pipelines"`
	Branches     []string `yaml:"branches"`
}

// Filter is the target's.
func (t Target) Filter() notify.Filter {
	return notify.Filter{Events: t.Events, Repositories: t.Repositories, Pipelines: t.Pipelines, Branches: t.Branches}
}

// Address is what pipeline files may call the target beside its name:
// slack:CHANNEL or sns:ARN; empty if it has no such address.
func (t Target) Address() string {
	switch {
	case t.Type == "slack" && t.Channel != "":
		return "slack:" + t.Channel
	case t.Type == "sns":
		return "sns:" + t.TopicARN
	}
	return ""
}

// Has reports whether there is a target of that name or address.
func (n Notifications) Has(target string) bool {
	return slices.ContainsFunc(n.Targets, func(t Target) bool { return target != "" && (t.Name == target || t.Address() == target) })
}

// targetName is what may be part of a key.
var targetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (n Notifications) check() error {
	var errs []error
	for _, o := range []struct {
		key, value string
		allowed    []string
	}{
		{"comments", n.Comments, []string{"failures", "on", "off"}},
		{"statuses", n.Statuses, []string{"auto", "also", "only"}},
		{"deployments", n.Deployments, []string{"on", "off"}},
	} {
		if !slices.Contains(o.allowed, o.value) {
			errs = append(errs, fmt.Errorf("notifications.%s: want one of %s, have %q", o.key, strings.Join(o.allowed, ", "), o.value))
		}
	}
	seen := map[string]bool{}
	for i, t := range n.Targets {
		at := fmt.Sprintf("notifications.targets[%d]", i)
		if !targetName.MatchString(t.Name) || seen[t.Name] {
			errs = append(errs, fmt.Errorf("%s.name: want a name that no other target has, of letters, digits, dots and dashes, have %q", at, t.Name))
		}
		seen[t.Name] = true
		for _, err := range append(t.checkAddress(), t.Filter().Check()) {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s.%w", at, err))
			}
		}
	}
	return errors.Join(errs...)
}

// checkAddress checks what each type needs. The errors repeat no secret.
func (t Target) checkAddress() []error {
	url := func(key, value string) error {
		if err := sender.CheckURL(value, t.AllowHTTP); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	switch {
	case t.Type == "webhook":
		return []error{url("url", t.URL)}
	case t.Type == "slack" && t.Token != "" && (t.Channel == "" || t.URL != ""):
		return []error{errors.New("channel: a bot's token goes with a channel, and without a url")}
	case t.Type == "slack" && t.Token != "" && t.API != "":
		return []error{url("api", t.API)}
	case t.Type == "slack" && t.Token != "":
		return nil
	case t.Type == "slack":
		return []error{url("url", t.URL)}
	case t.Type == "sns":
		return t.checkTopic(url)
	case t.Type == "mail":
		return []error{t.checkMail()}
	}
	return []error{fmt.Errorf("type: want one of slack, webhook, sns, mail, have %q", t.Type)}
}

// Mail is how a target of type mail is reached, but for what CAFile holds.
func (t Target) Mail() sender.MailOptions {
	return sender.MailOptions{Server: t.Server, TLS: t.TLS, User: t.User, Password: t.Password, From: t.From, To: t.To}
}

func (t Target) checkMail() error {
	o := t.Mail()
	if t.Password != "" && t.PasswordFile != "" {
		return errors.New("password: the same as password_file: want one")
	}
	if t.PasswordFile != "" {
		o.Password = "in a file"
	}
	_, err := sender.NewMail(o)
	return err
}

func (t Target) checkTopic(url func(key, value string) error) []error {
	var errs []error
	if !strings.HasPrefix(t.TopicARN, "arn:") || strings.Count(t.TopicARN, ":") != 5 {
		errs = append(errs, fmt.Errorf("topic_arn: want arn:aws:sns:REGION:ACCOUNT:TOPIC, have %q", t.TopicARN))
	}
	if t.Endpoint != "" {
		errs = append(errs, url("endpoint", t.Endpoint))
	}
	if (t.AccessKey == "") != (t.SecretKey == "") {
		errs = append(errs, errors.New("access_key_id: goes together with secret_access_key"))
	}
	if !slices.Contains([]string{"", "event", "chat"}, t.Format) {
		errs = append(errs, fmt.Errorf("format: want event or chat, have %q", t.Format))
	}
	return errs
}
