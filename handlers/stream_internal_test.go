package handlers

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// TestStreamEndsWithItsRight: an open stream asks again, now and then, whether
// its reader may read, and ends once they may not.
func TestStreamEndsWithItsRight(t *testing.T) {
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	gone := error(nil)
	c.Set(stillKey, func() error { return gone })
	w := newEventWriter(c)
	if err := w.event("state", "", []byte("1")); err != nil {
		t.Fatal(err)
	}
	gone = errors.New("signed out")
	if err := w.event("state", "", []byte("2")); err != nil {
		t.Errorf("asked too soon: %v", err)
	}
	w.checked = time.Now().Add(-pingEvery)
	if err := w.event("state", "", []byte("3")); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	w.checked = time.Now().Add(-pingEvery)
	if err := w.ping(); !errors.Is(err, gone) {
		t.Errorf("ping: got %v", err)
	}
}
