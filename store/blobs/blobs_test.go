package blobs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slipway-ci/slipway/store/blobs"
)

var key, otherKey = [32]byte{1, 2, 3}, [32]byte{4, 5, 6}

func open(t testing.TB, address string, o blobs.Options) *blobs.Bucket {
	t.Helper()
	b, err := blobs.Open(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func write(t testing.TB, b *blobs.Bucket, name string, data []byte) {
	t.Helper()
	if err := b.WriteAll(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, b *blobs.Bucket, name string) ([]byte, error) {
	t.Helper()
	return b.ReadAll(t.Context(), name, 1<<30)
}

// pattern is so many bytes, no two chunks of which are the same.
func pattern(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "this is line %d of a secret text\n", i)
	}
	return b.Bytes()[:n]
}

// stores are buckets of all kinds; raw reads an object as it is kept.
func stores(t *testing.T, do func(t *testing.T, address string, o blobs.Options, raw func(name string) []byte)) {
	t.Helper()
	for _, o := range []struct {
		name string
		blobs.Options
	}{{"plain", blobs.Options{}}, {"local key", blobs.Options{Keys: [][32]byte{key}}}} {
		t.Run("file "+o.name, func(t *testing.T) {
			dir := t.TempDir()
			do(t, "file://"+dir, o.Options, func(name string) []byte {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				return data
			})
		})
		t.Run("s3 "+o.name, func(t *testing.T) {
			s := newS3(t)
			do(t, s.address, o.Options, s.object)
		})
	}
	t.Run("file kms", func(t *testing.T) {
		dir, kms := t.TempDir(), newKMS(t)
		do(t, "file://"+dir, blobs.Options{KMS: kms.address}, func(name string) []byte {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return data
		})
	})
}

func TestObjects(t *testing.T) {
	stores(t, func(t *testing.T, address string, o blobs.Options, raw func(string) []byte) {
		ctx, b := t.Context(), open(t, address, o)
		encrypted := len(o.Keys) > 0 || o.KMS != ""
		for _, size := range []int{0, 1, 100, 64 << 10, 64<<10 + 1, 6 << 20} {
			name, want := fmt.Sprintf("dir/%d", size), pattern(size)
			write(t, b, name, want)
			r, err := b.NewReader(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes: got %d, %v", size, len(got), err)
			}
			if r.Size != int64(size) || time.Since(r.ModTime).Abs() > time.Minute {
				t.Errorf("%d bytes: got size %d, time %s", size, r.Size, r.ModTime)
			}
			if size >= 100 && bytes.Contains(raw(name), []byte("secret text")) == encrypted {
				t.Errorf("%d bytes: kept as %.100q, want encrypted %v", size, raw(name), encrypted)
			}
		}
		n := 0
		for o, err := range b.List(ctx, "dir/") {
			if err != nil || !strings.HasPrefix(o.Name, "dir/") {
				t.Fatalf("got %v, %v", o, err)
			}
			n++
		}
		if n != 6 {
			t.Errorf("listed %d objects, want 6", n)
		}
		if err := b.Delete(ctx, "dir/1"); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t, b, "dir/1"); !errors.Is(err, blobs.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if _, err := b.Stat(ctx, "dir/1"); !errors.Is(err, blobs.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if err := b.Check(ctx); err != nil {
			t.Errorf("check: %v", err)
		}
	})
}

// An object is there whole or not at all.
func TestAbort(t *testing.T) {
	stores(t, func(t *testing.T, address string, o blobs.Options, _ func(string) []byte) {
		b := open(t, address, o)
		w, err := b.NewWriter(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(w, io.MultiReader(bytes.NewReader(pattern(7<<20)), iotest.ErrReader(errors.New("gone"))))
		if err == nil {
			t.Fatal("want the reader's error")
		}
		w.Abort()
		if ok, err := b.Exists(t.Context(), "x"); ok || err != nil {
			t.Errorf("got %v, %v, want no object", ok, err)
		}
	})
}

func TestBound(t *testing.T) {
	stores(t, func(t *testing.T, address string, o blobs.Options, _ func(string) []byte) {
		b := open(t, address, o)
		content := b.Bound("content")
		write(t, content, "incoming/1", []byte("text"))
		if err := content.Copy(t.Context(), "final/1", "incoming/1"); err != nil {
			t.Fatal(err)
		}
		if got, err := read(t, content, "final/1"); err != nil || string(got) != "text" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := read(t, b, "final/1"); o.Keys != nil && !errors.Is(err, blobs.ErrDamaged) {
			t.Errorf("read as something else: got %v, want ErrDamaged", err)
		}
	})
}

func TestOnce(t *testing.T) {
	b := open(t, "file://"+t.TempDir(), blobs.Options{Keys: [][32]byte{key}})
	for i, want := range []error{nil, blobs.ErrExists} {
		w, err := b.NewWriterOnce(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, i)
		if err := w.Close(); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if got, err := read(t, b, "x"); err != nil || string(got) != "0" {
		t.Errorf("got %q, %v", got, err)
	}
}

// What somebody does to objects where they are kept is found, at the latest at
// their end.
func TestTampering(t *testing.T) {
	dir := t.TempDir()
	b := open(t, "file://"+dir, blobs.Options{Keys: [][32]byte{key}})
	want := pattern(300 << 10)
	write(t, b, "good", want)
	write(t, b, "other", pattern(10))
	kept, err := os.ReadFile(filepath.Join(dir, "good"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	const chunk = 64<<10 + 16
	body := len(kept) - (300<<10 + 5*16) // where the chunks begin
	flip := func(at int) []byte {
		c := bytes.Clone(kept)
		c[at] ^= 1
		return c
	}
	for name, data := range map[string][]byte{
		"empty":                    {},
		"one bit of the header":    flip(50),
		"one bit of its sum":       flip(body - 20),
		"one bit of the nonce":     flip(body - 5),
		"one bit of the content":   flip(body + 1000),
		"the last bit":             flip(len(kept) - 1),
		"cut by a byte":            kept[:len(kept)-1],
		"cut between chunks":       kept[:body+2*chunk],
		"cut before the content":   kept[:body],
		"cut in the header":        kept[:40],
		"two chunks change places": bytes.Join([][]byte{kept[:body], kept[body+chunk : body+2*chunk], kept[body : body+chunk], kept[body+2*chunk:]}, nil),
		"a chunk twice":            bytes.Join([][]byte{kept[:body+chunk], kept[body:]}, nil),
		"more behind it":           append(bytes.Clone(kept), 'x'),
		"another object":           other,
		"plain text":               want,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "good"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := read(t, b, "good")
			if !errors.Is(err, blobs.ErrDamaged) && !errors.Is(err, blobs.ErrPlain) && !errors.Is(err, blobs.ErrKey) {
				t.Errorf("got %d bytes, %v, want ErrDamaged, ErrPlain or ErrKey", len(got), err)
			}
			if !bytes.HasPrefix(want, got) {
				t.Error("got bytes that nobody wrote")
			}
		})
	}
}

// Attacks: 26.
func TestKeys(t *testing.T) {
	first, second := blobs.Options{Keys: [][32]byte{key}}, blobs.Options{Keys: [][32]byte{otherKey}}
	opens := func(t *testing.T, address string, o blobs.Options, want error) {
		t.Helper()
		b, err := blobs.Open(t.Context(), address, o)
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if err == nil {
			_ = b.Close()
		}
	}
	t.Run("another key", func(t *testing.T) {
		address := "file://" + t.TempDir()
		open(t, address, first)
		opens(t, address, second, blobs.ErrKey)
		opens(t, address, blobs.Options{}, blobs.ErrKey)
		opens(t, address, first, nil)
	})
	t.Run("rotation", func(t *testing.T) {
		address := "file://" + t.TempDir()
		write(t, open(t, address, first), "old", []byte("old"))
		both := open(t, address, blobs.Options{Keys: [][32]byte{otherKey, key}})
		if got, err := read(t, both, "old"); err != nil || string(got) != "old" {
			t.Errorf("got %q, %v", got, err)
		}
		write(t, both, "new", []byte("new"))
		after := open(t, address, second)
		if got, err := read(t, after, "new"); err != nil || string(got) != "new" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := read(t, after, "old"); !errors.Is(err, blobs.ErrKey) {
			t.Errorf("got %v, want ErrKey", err)
		}
	})
	t.Run("from a local key to a KMS", func(t *testing.T) {
		address, kms := "file://"+t.TempDir(), newKMS(t)
		write(t, open(t, address, first), "old", []byte("old"))
		both := open(t, address, blobs.Options{Keys: [][32]byte{key}, KMS: kms.address})
		write(t, both, "new", []byte("new"))
		for _, name := range []string{"old", "new"} {
			if got, err := read(t, both, name); err != nil || string(got) != name {
				t.Errorf("got %q, %v", got, err)
			}
		}
		opens(t, address, first, blobs.ErrKey)
		opens(t, address, blobs.Options{KMS: kms.address}, nil)
	})
	t.Run("objects from before encryption", func(t *testing.T) {
		address := "file://" + t.TempDir()
		write(t, open(t, address, blobs.Options{}), "old", []byte("old"))
		if _, err := read(t, open(t, address, first), "old"); !errors.Is(err, blobs.ErrPlain) {
			t.Errorf("got %v, want ErrPlain", err)
		}
		since := first
		since.PlainBefore = time.Now().Add(time.Minute)
		if got, err := read(t, open(t, address, since), "old"); err != nil || string(got) != "old" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A KMS is asked once for many objects, and its absence is no damage.
func TestKMS(t *testing.T) {
	kms := newKMS(t)
	address := "file://" + t.TempDir()
	b := open(t, address, blobs.Options{KMS: kms.address})
	for i := range 20 {
		write(t, b, fmt.Sprint(i), []byte("x"))
	}
	if n := kms.calls(); n > 3 {
		t.Errorf("the KMS was asked %d times, want at most 3", n)
	}
	kms.down(true)
	if _, err := read(t, b, "3"); err != nil {
		t.Errorf("a key that is in use: got %v", err)
	}
	if b, err := blobs.Open(t.Context(), address, blobs.Options{KMS: kms.address}); err == nil || errors.Is(err, blobs.ErrKey) || errors.Is(err, blobs.ErrDamaged) {
		t.Errorf("got %v, %v, want an error that may pass", b, err)
	}
	kms.down(false)
	if got, err := read(t, open(t, address, blobs.Options{KMS: kms.address}), "3"); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
}
