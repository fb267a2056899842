package secrets_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/slipway-ci/slipway/store/secrets"
)

// fakeAWS is Parameter Store and Secrets Manager in one, strict about what it
// is sent: protocol, members of requests, and signatures.
type fakeAWS struct {
	t          *testing.T
	parameters map[string]string
	secrets    map[string]string // NAME, NAME/STAGE or NAME//VERSION
	mu         sync.Mutex
	busy       int // answers that are 503 before the first other one
	asked      int
}

const (
	awsKey, awsSecret = "AKIDEXAMPLE", "wJalrXUtnFEMI"
	awsRegion         = "eu-central-1"
)

func newAWS(t *testing.T) (*fakeAWS, *secrets.AWS) {
	t.Helper()
	f := &fakeAWS{t: t, parameters: map[string]string{}, secrets: map[string]string{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	a, err := secrets.NewAWS(t.Context(), secrets.AWSOptions{Region: awsRegion, Endpoint: server.URL, AccessKey: awsKey, SecretKey: awsSecret})
	if err != nil {
		t.Fatal(err)
	}
	return f, a
}

func (f *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.asked <= f.busy {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	service, answer := f.answer(r.Header.Get("X-Amz-Target"), body)
	if why := unsigned(r, body, service); why != "" {
		refuse(w, "InvalidSignatureException", why)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		refuse(w, "UnknownOperationException", "")
		return
	}
	answer(w)
}

func refuse(w http.ResponseWriter, code, message string) {
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"__type":"com.amazonaws#%s","message":%q}`, code, message)
}

func (f *fakeAWS) answer(target string, body []byte) (service string, answer func(http.ResponseWriter)) {
	strict := json.NewDecoder(bytes.NewReader(body))
	strict.DisallowUnknownFields()
	var in struct {
		Name, SecretId, VersionStage, VersionId string
		WithDecryption                          bool
	}
	if err := strict.Decode(&in); err != nil {
		f.t.Errorf("%s: %v", target, err)
	}
	give := func(value any, ok bool, missing string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			if !ok {
				refuse(w, missing, "")
				return
			}
			_ = json.NewEncoder(w).Encode(value)
		}
	}
	switch target {
	case "AmazonSSM.GetParameter":
		v, ok := f.parameters[in.Name]
		return "ssm", give(map[string]any{"Parameter": map[string]any{"Name": in.Name, "Value": v}}, ok && in.WithDecryption && in.SecretId == "", "ParameterNotFound")
	case "secretsmanager.GetSecretValue":
		if in.SecretId == "forbidden" {
			return "secretsmanager", func(w http.ResponseWriter) { refuse(w, "AccessDeniedException", "not you") }
		}
		if in.SecretId == "binary" {
			return "secretsmanager", give(map[string]any{"SecretBinary": "AAE="}, true, "")
		}
		name := in.SecretId
		if in.VersionStage != "" {
			name += "/" + in.VersionStage
		}
		if in.VersionId != "" {
			name += "//" + in.VersionId
		}
		v, ok := f.secrets[name]
		return "secretsmanager", give(map[string]any{"SecretString": v}, ok && in.Name == "", "ResourceNotFoundException")
	}
	return "", func(w http.ResponseWriter) { refuse(w, "UnknownOperationException", target) }
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=` + awsKey + `/\d{8}/` + awsRegion + `/(ssm|secretsmanager)/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$`)

// unsigned says what is wrong with a request's signature, by making it again.
func unsigned(r *http.Request, body []byte, service string) string {
	m := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil || m[1] != service {
		return "credential scope"
	}
	for _, name := range []string{"host", "x-amz-date", "x-amz-target", "content-type"} {
		if !strings.Contains(";"+m[2]+";", ";"+name+";") {
			return name + " isn't signed"
		}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute {
		return "date"
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	again.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	again.Header.Set("X-Amz-Target", r.Header.Get("X-Amz-Target"))
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: awsKey, SecretAccessKey: awsSecret}, again, hex.EncodeToString(sum[:]), service, awsRegion, at)
	if err != nil || again.Header.Get("Authorization") != r.Header.Get("Authorization") {
		return "signature"
	}
	return ""
}

func TestAWS(t *testing.T) {
	f, a := newAWS(t)
	f.parameters["/app/p"] = "one"
	f.secrets["db"] = `{"user": "u"}`
	f.secrets["db/AWSPREVIOUS"] = "before"
	f.secrets["db//v-1"] = "first"
	arn := "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf"
	f.secrets[arn] = "by its ARN"
	for _, tt := range []struct {
		ref  secrets.Ref
		want string
		no   string // code of the refusal, or none for "not found"
	}{
		{ref: secrets.Ref{Parameter: true, Name: "/app/p"}, want: "one"},
		{ref: secrets.Ref{Name: "db"}, want: `{"user": "u"}`},
		{ref: secrets.Ref{Name: "db", Stage: "AWSPREVIOUS"}, want: "before"},
		{ref: secrets.Ref{Name: "db", VersionID: "v-1"}, want: "first"},
		{ref: secrets.Ref{Name: arn}, want: "by its ARN"},
		{ref: secrets.Ref{Name: "db", VersionID: "v-2"}},
		{ref: secrets.Ref{Parameter: true, Name: "db"}},
		{ref: secrets.Ref{Name: "/app/p"}},
		{ref: secrets.Ref{Name: "forbidden"}, no: "AccessDeniedException"},
		{ref: secrets.Ref{Name: "binary"}, no: "NoText"},
	} {
		got, err := a.Lookup(t.Context(), tt.ref)
		no, refused := errors.AsType[*secrets.RefusedError](err)
		switch {
		case tt.want != "" && (err != nil || got != tt.want):
			t.Errorf("%+v: got %q, %v, want %q", tt.ref, got, err, tt.want)
		case tt.no != "" && (!refused || no.Code != tt.no):
			t.Errorf("%+v: got %v, want %s", tt.ref, err, tt.no)
		case tt.want+tt.no == "" && !errors.Is(err, secrets.ErrNotFound):
			t.Errorf("%+v: got %q, %v, want ErrNotFound", tt.ref, got, err)
		}
	}
}

// A store that is busy is asked again, and not for ever.
func TestAWSIsBusy(t *testing.T) {
	f, a := newAWS(t)
	f.parameters["p"] = "one"
	f.busy = 2
	if got, err := a.Lookup(t.Context(), secrets.Ref{Parameter: true, Name: "p"}); got != "one" || err != nil || f.asked != 3 {
		t.Errorf("got %q, %v after %d requests", got, err, f.asked)
	}
	f.busy = 100
	_, err := a.Lookup(t.Context(), secrets.Ref{Parameter: true, Name: "p"})
	if _, refused := errors.AsType[*secrets.RefusedError](err); err == nil || refused || errors.Is(err, secrets.ErrNotFound) || f.asked != 6 {
		t.Errorf("got %v after %d requests", err, f.asked)
	}
}

// Another key is told apart from a value that isn't there.
func TestAWSSignsWithItsKey(t *testing.T) {
	f, _ := newAWS(t)
	server := httptest.NewServer(f)
	defer server.Close()
	a, err := secrets.NewAWS(t.Context(), secrets.AWSOptions{Region: awsRegion, Endpoint: server.URL, AccessKey: awsKey, SecretKey: "another"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Lookup(t.Context(), secrets.Ref{Parameter: true, Name: "p"})
	if no, ok := errors.AsType[*secrets.RefusedError](err); !ok || no.Code != "InvalidSignatureException" {
		t.Errorf("got %v", err)
	}
}
