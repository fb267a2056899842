package blobs_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"

	"github.com/slipway-ci/slipway/store/blobs"
)

// The bytes are those of the version that is named, also where another one is
// written meanwhile.
func TestVersions(t *testing.T) {
	s := newS3(t)
	versioned, ok := s.backend.(gofakes3.VersionedBackend)
	if !ok {
		t.Fatal("the server keeps no versions")
	}
	if err := versioned.SetVersioningConfiguration(s3Bucket, gofakes3.VersioningConfiguration{Status: gofakes3.VersioningEnabled}); err != nil {
		t.Fatal(err)
	}
	b := open(t, s.address, blobs.Options{})
	write(t, b, "prod.zip", []byte("one"))
	between := sync.OnceFunc(func() {
		if _, err := s.backend.PutObject(s3Bucket, "prod.zip", map[string]string{}, strings.NewReader("two"), 3, nil); err != nil {
			t.Error(err)
		}
	})
	s.during(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			between()
		}
		return false
	})
	r, v, err := b.NewVersionReader(t.Context(), "prod.zip")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || string(got) != "one" || v.ID == "" || v.ETag == "" {
		t.Errorf("got %q of version %+v (%v), want the first", got, v, err)
	}
	if _, _, err := b.NewVersionReader(t.Context(), "none.zip"); !errors.Is(err, blobs.ErrNotFound) {
		t.Errorf("no such object: %v", err)
	}
}
