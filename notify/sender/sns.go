package sender

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/notify"
)

// TopicOptions say which topic of Amazon SNS is published to.
type TopicOptions struct {
	Network  Network
	ARN      string
	Region   string // empty: the ARN's
	Endpoint string // empty: AWS's
	// AccessKey and SecretKey sign in; empty: the SDK's usual places.
	AccessKey, SecretKey string
	// Chat publishes what AWS's chat bridge shows, instead of the event.
	Chat bool
	// Source is where people reach Slipway.
	Source string
}

// Topic publishes messages to a topic of Amazon SNS, or of what speaks its
// protocol.
type Topic struct {
	o      TopicOptions
	client *sns.Client
}

var _ notify.Sender = (*Topic)(nil)

// NewTopic makes a Topic. It reads the SDK's configuration and contacts nobody.
func NewTopic(ctx context.Context, o TopicOptions) (*Topic, error) {
	parts := strings.SplitN(o.ARN, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" || parts[5] == "" {
		return nil, fmt.Errorf("want a topic's ARN, have %q", o.ARN)
	}
	options := []func(*config.LoadOptions) error{
		config.WithRegion(cmp.Or(o.Region, parts[3])),
		// Who sends tries again, across restarts.
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if o.AccessKey != "" {
		options = append(options, config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: o.AccessKey, SecretAccessKey: o.SecretKey, Source: "slipway.yaml"}, nil
		})))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("setting up SNS: %w", err)
	}
	return &Topic{o: o, client: sns.NewFromConfig(cfg, func(s *sns.Options) {
		// Only publishing: credentials may come from a link-local address.
		s.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DialContext = o.Network.dial })
		if o.Endpoint != "" {
			s.BaseEndpoint = aws.String(o.Endpoint)
		}
	})}, nil
}

// subjectLimit is that of SNS.
const subjectLimit = 100

// Send publishes a message. On a FIFO topic the messages of an execution keep
// their order, and a repeat is dropped.
func (t *Topic) Send(ctx context.Context, m notify.Message, _ string) (string, error) {
	in := &sns.PublishInput{TopicArn: aws.String(t.o.ARN), Message: aws.String(t.body(m)), Subject: aws.String(subjectLine(m))}
	if strings.HasSuffix(t.o.ARN, ".fifo") {
		in.MessageGroupId, in.MessageDeduplicationId = aws.String(m.Execution), aws.String(m.ID)
	}
	_, err := t.client.Publish(ctx, in)
	if err == nil {
		return "", nil
	}
	if ctx.Err() != nil {
		return "", &forge.RetryError{Err: errors.New("no answer in time")}
	}
	return "", publishError(err)
}

// publishError says whether a repeat may help, in words without the request.
func publishError(err error) error {
	code := "no answer"
	if e, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err); ok {
		code = e.ErrorCode()
	}
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	switch {
	case errors.Is(err, notify.ErrRefused):
		return fmt.Errorf("publishing: %w", notify.ErrRefused)
	case !ok || answer.HTTPStatusCode() == 0 || answer.HTTPStatusCode() >= 500 || code == "Throttling" || code == "ThrottlingException" || code == "ThrottledException":
		return &forge.RetryError{Err: fmt.Errorf("publishing: %s", code)}
	case answer.HTTPStatusCode() == http.StatusTooManyRequests:
		return &forge.RetryError{After: retryAfter(answer.Response.Header.Get("Retry-After")), Err: fmt.Errorf("publishing: %s", code)}
	}
	return fmt.Errorf("%w: publishing: %s", notify.ErrRefused, code)
}

// subjectLine is ASCII in one line, as SNS wants it.
func subjectLine(m notify.Message) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r == '·':
			return '-'
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, m.Title())
	return s[:min(len(s), subjectLimit)]
}

// body is the document that is published: for an approval that of AWS, else
// the event as notification rules publish it, or a chat message.
func (t *Topic) body(m notify.Message) string {
	var v any = ruleEvent{
		Account: account(t.o.ARN), DetailType: m.DetailType, Region: cmp.Or(t.o.Region, region(t.o.ARN)), Source: service(m.DetailType),
		Time: m.Time, Resources: []string{t.o.Source + "/executions/" + m.Execution}, Detail: m.Detail, Additional: m.Additional, ID: m.ID,
	}
	switch {
	case t.o.Chat:
		v = chatMessage(m)
	case len(m.Approval) > 0:
		v = m.Approval
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types, and JSON that was read before
	}
	return string(data)
}

// service is whose event AWS would call it.
func service(detailType string) string {
	if strings.HasPrefix(detailType, "CodeDeploy") {
		return "aws.codedeploy"
	}
	return "aws.codepipeline"
}

func account(arn string) string { return strings.SplitN(arn, ":", 6)[4] }
func region(arn string) string  { return strings.SplitN(arn, ":", 6)[3] }

// ruleEvent is the processed form of an event (CodePipeline reference 3.15).
type ruleEvent struct {
	ID         string          `json:"id"` // ours: for receivers that drop repeats
	Account    string          `json:"account"`
	DetailType string          `json:"detailType"`
	Region     string          `json:"region"`
	Source     string          `json:"source"`
	Time       time.Time       `json:"time"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
	Additional json.RawMessage `json:"additionalAttributes,omitempty"`
}

// chatMessage is what AWS's chat bridge takes as a custom notification.
func chatMessage(m notify.Message) any {
	description := m.Revision()
	for _, part := range []string{m.Subject, m.Question, m.Problem} {
		if part != "" {
			description += "\n" + part
		}
	}
	content := map[string]any{"textType": "client-markdown", "title": m.Title(), "description": slackText(cutRunes(description, sectionRunes))}
	if m.URL != "" {
		content["nextSteps"] = []string{"<" + m.URL + "|Open the execution>"}
	}
	return map[string]any{
		"version": "1.0", "source": "custom", "id": m.ID, "content": content,
		"metadata": map[string]any{"threadId": m.Execution, "summary": m.Title(), "eventType": m.Event},
	}
}
