package blobs_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// s3 is an S3-compatible server with one bucket.
type s3 struct {
	t       *testing.T
	address string
	backend gofakes3.Backend
	front   *httptest.Server
	mu      sync.Mutex
	before  func(w http.ResponseWriter, r *http.Request) (answered bool)
}

const s3Bucket = "slipway-test"

func newS3(t *testing.T) *s3 {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	s := &s3{t: t, backend: s3mem.New()}
	if err := s.backend.CreateBucket(s3Bucket); err != nil {
		t.Fatal(err)
	}
	server := gofakes3.New(s.backend).Server()
	s.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		before := s.before
		s.mu.Unlock()
		if before == nil || !before(w, r) {
			server.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.front.Close)
	s.address = "s3://" + s3Bucket + "?region=us-east-1&endpoint=" + url.QueryEscape(s.front.URL)
	return s
}

// object is what the server keeps.
func (s *s3) object(name string) []byte {
	s.t.Helper()
	o, err := s.backend.GetObject(s3Bucket, name, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer o.Contents.Close()
	data, err := io.ReadAll(o.Contents)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

// during lets do answer requests first.
func (s *s3) during(do func(w http.ResponseWriter, r *http.Request) (answered bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = do
}

// kms is a key in a KMS that speaks AWS's protocol.
type kms struct {
	address string
	mu      sync.Mutex
	asked   int
	away    bool
}

func newKMS(t *testing.T) *kms {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	block, err := aes.NewCipher([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	k := &kms{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { k.serve(w, r, aead) }))
	t.Cleanup(server.Close)
	k.address = "awskms:///alias/test?region=us-east-1&endpoint=" + url.QueryEscape(server.URL)
	return k
}

func (k *kms) calls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}

func (k *kms) down(away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
}

func (k *kms) serve(w http.ResponseWriter, r *http.Request, aead cipher.AEAD) {
	k.mu.Lock()
	k.asked++
	away := k.away
	k.mu.Unlock()
	fail := func(status int, kind string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": kind})
	}
	if away {
		fail(http.StatusInternalServerError, "KMSInternalException")
		return
	}
	var in struct{ Plaintext, CiphertextBlob []byte }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(http.StatusBadRequest, "ValidationException")
		return
	}
	out := map[string]any{"KeyId": "alias/test"}
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.Encrypt":
		out["CiphertextBlob"] = aead.Seal(nil, nil, in.Plaintext, nil)
	case "TrentService.Decrypt":
		plain, err := aead.Open(nil, nil, in.CiphertextBlob, nil)
		if err != nil {
			fail(http.StatusBadRequest, "InvalidCiphertextException")
			return
		}
		out["Plaintext"] = plain
	default:
		fail(http.StatusBadRequest, "UnsupportedOperationException")
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out)
}
