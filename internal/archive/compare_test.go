package archive_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slipway-ci/slipway/internal/archive"
)

func TestSameBytes(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	tests := []struct {
		name, x, y string
		want       bool
	}{
		{"empty", "", "", true},
		{"equal", "abc", "abc", true},
		{"other", "abc", "abd", false},
		{"one goes on", "abc", "abcd", false},
		{"one is empty", "", "a", false},
		{"equal over several reads", long + "tail", long + "tail", true},
		{"equal to a read's end", long, long, true},
		{"one goes on after a read's end", long, long + "y", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, pair := range [][2]string{{tt.x, tt.y}, {tt.y, tt.x}} {
				got, err := archive.SameBytes(strings.NewReader(pair[0]), iotest.HalfReader(strings.NewReader(pair[1])))
				if err != nil || got != tt.want {
					t.Errorf("got %t, %v, want %t", got, err, tt.want)
				}
			}
		})
	}
}

// A disk that fails makes nothing equal.
func TestSameBytesTellsErrors(t *testing.T) {
	broken := errors.New("input/output error")
	bad := func() io.Reader { return io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)) }
	for _, pair := range [][2]io.Reader{{bad(), strings.NewReader("abc")}, {strings.NewReader("abc"), bad()}} {
		if _, err := archive.SameBytes(pair[0], pair[1]); !errors.Is(err, broken) {
			t.Errorf("got %v, want the error of the reader", err)
		}
	}
}
