package secrets

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

// AWSOptions say where AWS's stores are.
type AWSOptions struct {
	Region string
	// Endpoint stands in for the addresses of both services; empty: AWS's.
	Endpoint string
	// AccessKey and SecretKey sign in; empty: the SDK's usual places.
	AccessKey, SecretKey string
}

// AWS is a store in Parameter Store and Secrets Manager. The two requests that
// it makes are signed here: the services' own clients would be many times what
// is used of them.
type AWS struct {
	options     AWSOptions
	credentials aws.CredentialsProvider
	client      *http.Client
	now         func() time.Time
}

const (
	// awsTimeout bounds one request, and awsTries how often one is made that
	// the service was too busy for; awsPause is waited before the second and
	// doubles.
	awsTimeout = 15 * time.Second
	awsTries   = 3
	awsPause   = 200 * time.Millisecond
	// awsLimitBytes bounds an answer. A secret has 64 KiB at most.
	awsLimitBytes = 1 << 20
)

// NewAWS makes a store. It finds credentials and contacts nobody otherwise.
func NewAWS(ctx context.Context, o AWSOptions) (*AWS, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(o.Region))
	if err != nil {
		return nil, fmt.Errorf("setting up AWS: %w", err)
	}
	a := &AWS{options: o, credentials: cfg.Credentials, now: time.Now, client: &http.Client{
		Timeout: awsTimeout,
		// A signed request belongs to one address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if o.AccessKey != "" {
		a.credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: o.AccessKey, SecretAccessKey: o.SecretKey, Source: "slipway.yaml"}, nil
		})
	}
	return a, nil
}

// Lookup implements Source.
func (a *AWS) Lookup(ctx context.Context, r Ref) (string, error) {
	if r.Parameter {
		return a.parameter(ctx, r.Name)
	}
	return a.secret(ctx, r)
}

func (a *AWS) parameter(ctx context.Context, name string) (string, error) {
	var out struct {
		Parameter struct{ Value *string }
	}
	err := a.call(ctx, "ssm", "AmazonSSM.GetParameter", map[string]any{"Name": name, "WithDecryption": true}, &out)
	if err == nil && out.Parameter.Value == nil {
		err = &RefusedError{Code: "NoValue", Message: "the parameter has no value"}
	}
	if err != nil {
		return "", fmt.Errorf("asking Parameter Store: %w", err)
	}
	return *out.Parameter.Value, nil
}

func (a *AWS) secret(ctx context.Context, r Ref) (string, error) {
	in := map[string]any{"SecretId": r.Name}
	if r.Stage != "" {
		in["VersionStage"] = r.Stage
	}
	if r.VersionID != "" {
		in["VersionId"] = r.VersionID
	}
	var out struct{ SecretString *string }
	err := a.call(ctx, "secretsmanager", "secretsmanager.GetSecretValue", in, &out)
	if err == nil && out.SecretString == nil {
		err = &RefusedError{Code: "NoText", Message: "the secret is binary and no text"}
	}
	if err != nil {
		return "", fmt.Errorf("asking Secrets Manager: %w", err)
	}
	return *out.SecretString, nil
}

// call makes a request in AWS's JSON protocol, more than once if the service
// is busy.
func (a *AWS) call(ctx context.Context, service, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := a.ask(ctx, service, target, body, out)
		if _, busy := errors.AsType[*busyError](err); !busy || try == awsTries {
			return err
		}
		t := time.NewTimer(awsPause << (try - 1))
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

func (a *AWS) ask(ctx context.Context, service, target string, body []byte, out any) error {
	url := cmp.Or(a.options.Endpoint, awsURL(service, a.options.Region))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(url, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	credentials, err := a.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("finding credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), service, a.options.Region, a.now()); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(resp.Body, awsLimitBytes))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return awsError(resp.StatusCode, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return errors.New("the answer is no JSON") // and may hold the secret
	}
	return nil
}

// awsURL is a service's address; China's regions have a domain of their own.
func awsURL(service, region string) string {
	url := "https://" + service + "." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		url += ".cn"
	}
	return url
}

// busyError is an answer that may be another one later.
type busyError struct{ message string }

func (e *busyError) Error() string { return e.message }

// awsError reads an error in AWS's JSON protocol.
func awsError(status int, data []byte) error {
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
		Capital string `json:"Message"`
	}
	_ = json.Unmarshal(data, &e) // what isn't one has no code
	code := e.Type[strings.LastIndexByte(e.Type, '#')+1:]
	message := cmp.Or(e.Message, e.Capital, http.StatusText(status))
	switch {
	case status >= 500, status == http.StatusTooManyRequests, strings.Contains(code, "Throttl"):
		return &busyError{fmt.Sprintf("%d %s: %s", status, code, message)}
	case code == "ParameterNotFound", code == "ParameterVersionNotFound", code == "ResourceNotFoundException":
		return ErrNotFound
	}
	return &RefusedError{Code: cmp.Or(code, "HTTP "+http.StatusText(status)), Message: message}
}
