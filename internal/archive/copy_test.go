package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A copy is what packing and unpacking makes, and so is what it tells of it.
func TestCopyIsPackAndUnpack(t *testing.T) {
	dir := sample(t)
	many := filepath.Join(dir, "many", "files")
	if err := os.MkdirAll(many, 0o750); err != nil {
		t.Fatal(err)
	}
	for i := range 3*handful + 1 {
		if err := os.WriteFile(filepath.Join(many, strconv.Itoa(i)), bytes.Repeat([]byte{byte(i)}, 1000*i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"bin/setuid": 0o4755, "none": 0} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Chmod(filepath.Join(dir, name), uint32(mode)); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Unix(1_500_000_000, 0)
	if err := os.Chtimes(filepath.Join(dir, "many"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Chmod(filepath.Join(dir, "empty"), 0o3510); err != nil {
		t.Fatal(err)
	}

	recorder := func(files map[string]string, at string) func(File) {
		return func(f File) {
			now, err := os.Lstat(filepath.Join(at, f.Name))
			if err != nil || now.Size() != f.Stamp.Size || now.ModTime().UnixNano() != f.Stamp.Modified {
				t.Errorf("%s is %v (%v), its stamp %+v", f.Name, now, err, f.Stamp)
			}
			files[f.Name] = f.SHA256
		}
	}
	data, packed := pack(t, dir, PackOptions{Format: Tar})
	unpacked, want := t.TempDir(), map[string]string{}
	if _, err := Unpack(bytes.NewReader(data), unpacked, Limits{}, recorder(want, unpacked)); err != nil {
		t.Fatal(err)
	}
	copied, got := filepath.Join(t.TempDir(), "made", "by", "copy"), map[string]string{}
	sum, err := Copy(dir, copied, Limits{}, recorder(got, copied))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, unpacked), tree(t, copied)); diff != "" {
		t.Errorf("tree (-unpacked +copied):\n%s", diff)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 3*handful+6 {
		t.Errorf("sums (-unpacked +copied):\n%s", diff)
	}
	if sum.Entries != packed.Entries || sum.Content != packed.Content {
		t.Errorf("got %+v, want the entries and content of %+v", sum, packed)
	}
	for _, name := range []string{".hidden", "many"} {
		before, err1 := os.Stat(filepath.Join(dir, name))
		after, err2 := os.Stat(filepath.Join(copied, name))
		if err1 != nil || err2 != nil || !before.ModTime().Equal(after.ModTime()) {
			t.Errorf("time of %s: %v, want %v", name, after.ModTime(), before.ModTime())
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	dest := t.TempDir()
	tests := []struct {
		name   string
		make   func(dir string) error
		limits Limits
		want   string
	}{
		{"a link that leaves", func(dir string) error { return os.Symlink("../../etc", filepath.Join(dir, "a", "out")) }, Limits{}, "leaves the folder"},
		{"a fifo", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "a", "fifo"), 0o600) }, Limits{}, `"a/fifo" is neither file, folder nor link`},
		{"too many", func(dir string) error { return os.Mkdir(filepath.Join(dir, "a", "b"), 0o700) }, Limits{Entries: 2}, "more than 2 entries"},
		{"too much", func(dir string) error { return os.WriteFile(filepath.Join(dir, "more"), []byte("12345"), 0o600) }, Limits{Bytes: 9}, "more than 9 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "a"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "a", "f"), []byte("12345"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Copy(dir, filepath.Join(dest, tt.name), tt.limits, nil)
			if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Copy(filepath.Join(dest, "nothing"), filepath.Join(dest, "x"), Limits{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is missing: got %v", err)
	}
}

// A stamp changes with the file, even if size and time of modification don't.
func TestStamp(t *testing.T) {
	var stamps []Stamp
	from, dest := t.TempDir(), t.TempDir()
	name := filepath.Join(from, "f")
	at := time.Unix(1_600_000_000, 5)
	for i, content := range []string{"one", "two"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
		if _, err := Copy(from, filepath.Join(dest, strconv.Itoa(i)), Limits{}, func(f File) { stamps = append(stamps, f.Stamp) }); err != nil {
			t.Fatal(err)
		}
	}
	if stamps[0] == stamps[1] || stamps[0].Size != stamps[1].Size || stamps[0].Modified != stamps[1].Modified {
		t.Errorf("got %+v", stamps)
	}
	text, err := stamps[0].MarshalText()
	var again Stamp
	if err := errors.Join(err, again.UnmarshalText(text)); err != nil || again != stamps[0] {
		t.Errorf("%s is read as %+v (%v), want %+v", text, again, err, stamps[0])
	}
	if err := again.UnmarshalText([]byte("1.2.3")); err == nil || again != stamps[0] {
		t.Errorf("a stamp that is cut off is read as %+v (%v)", again, err)
	}
}
