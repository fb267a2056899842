package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
)

var formats = []Format{Zip, Tar, TarGzip, TarZstd}

// sample fills a folder with one of everything that an archive keeps.
func sample(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "bin", "run me.sh"), []byte("#!/bin/sh\necho hello\n"), 0o600))
	must(os.Chmod(filepath.Join(dir, "bin", "run me.sh"), 0o751))
	must(os.WriteFile(filepath.Join(dir, ".hidden"), nil, 0o640))
	must(os.WriteFile(filepath.Join(dir, "grüße.txt"), bytes.Repeat([]byte("text "), 10_000), 0o644))
	must(os.Symlink("bin/run me.sh", filepath.Join(dir, "run")))
	must(os.Symlink("../.hidden", filepath.Join(dir, "bin", "up")))
	must(os.Symlink("bin", filepath.Join(dir, "folder")))
	must(os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	must(os.Chmod(filepath.Join(dir, "empty"), 0o710))
	must(os.Chtimes(filepath.Join(dir, ".hidden"), time.Time{}, time.Unix(1_600_000_000, 0)))
	return dir
}

// tree is what a folder holds: mode and content or link text by path.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content string
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			content, err = os.Readlink(p)
		case 0:
			var b []byte
			b, err = os.ReadFile(p)
			content = string(b)
		}
		rel, _ := filepath.Rel(dir, p)
		got[rel] = info.Mode().String() + " " + content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func pack(t testing.TB, dir string, o PackOptions) ([]byte, Summary) {
	t.Helper()
	entries, err := List(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	sum, err := Pack(&out, os.DirFS(dir), entries, o)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), sum
}

func TestRoundTripKeepsModesAndLinks(t *testing.T) {
	dir := sample(t)
	for _, f := range formats {
		t.Run(string(f), func(t *testing.T) {
			data, packed := pack(t, dir, PackOptions{Format: f})
			dest := filepath.Join(t.TempDir(), "made", "by", "unpack")
			unpacked, err := Unpack(bytes.NewReader(data), dest, Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tree(t, dir), tree(t, dest)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
			sum := sha256.Sum256(data)
			if want := hex.EncodeToString(sum[:]); packed.SHA256 != want || unpacked.SHA256 != want {
				t.Errorf("sums: packed %s, unpacked %s, want %s", packed.SHA256, unpacked.SHA256, want)
			}
			if packed.Bytes != int64(len(data)) || packed.Entries != 8 || unpacked.Entries != 8 {
				t.Errorf("got %+v and %+v", packed, unpacked)
			}
			info, err := os.Stat(filepath.Join(dest, ".hidden"))
			if err != nil || info.ModTime().Unix() != 1_600_000_000 {
				t.Errorf("time of .hidden: %v, %v", info.ModTime(), err)
			}
		})
	}
}

func TestUnpackOfAFileReadsItInPlace(t *testing.T) {
	data, packed := pack(t, sample(t), PackOptions{})
	name := filepath.Join(t.TempDir(), "bundle")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Unpack(f, t.TempDir(), Limits{}, nil)
	if err != nil || got.SHA256 != packed.SHA256 {
		t.Errorf("got %+v, %v, want sum %s", got, err, packed.SHA256)
	}
}

func TestReproducible(t *testing.T) {
	for _, f := range formats {
		dir := sample(t)
		first, _ := pack(t, dir, PackOptions{Format: f, Reproducible: true})
		now := time.Now().Add(time.Hour)
		if err := os.Chtimes(filepath.Join(dir, ".hidden"), now, now); err != nil {
			t.Fatal(err)
		}
		second, _ := pack(t, dir, PackOptions{Format: f, Reproducible: true})
		if !bytes.Equal(first, second) {
			t.Errorf("%s: equal content made different bytes", f)
		}
	}
}

func TestFollowPacksWhatALinkPointsTo(t *testing.T) {
	data, _ := pack(t, sample(t), PackOptions{Format: TarGzip, Follow: true})
	dest := t.TempDir()
	if _, err := Unpack(bytes.NewReader(data), dest, Limits{}, nil); err != nil {
		t.Fatal(err)
	}
	got := tree(t, dest)
	if want := "-rwxr-x--x #!/bin/sh\necho hello\n"; got["run"] != want {
		t.Errorf("run: got %q, want %q", got["run"], want)
	}
	if want := "Lrwxrwxrwx bin"; got["folder"] != want {
		t.Errorf("folder: got %q, want %q", got["folder"], want)
	}
}

// Attacks: 18.
func TestPackRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		entries []Entry
		want    string
	}{
		{"missing", []Entry{{Path: "nothing"}}, "no such file"},
		{"absolute name", []Entry{{Name: "/f", Path: "f"}}, "no name inside an archive"},
		{"name leaves", []Entry{{Name: "../f", Path: "f"}}, "no name inside an archive"},
		{"same name twice", []Entry{{Path: "f"}, {Name: "./f", Path: "f"}}, "two files want"},
		{"link leaves", []Entry{{Path: "out"}}, "leaves the folder"},
	}
	for _, tt := range tests {
		_, err := Pack(io.Discard, os.DirFS(dir), tt.entries, PackOptions{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// tarOf makes a tar by hand, with whatever the headers say.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		content := h.PAXRecords["SLIPWAY.content"]
		h.PAXRecords = nil
		h.Size = int64(len(content))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func tarFile(name, content string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, PAXRecords: map[string]string{"SLIPWAY.content": content}}
}

// Attacks: 18.
func TestUnpackRefuses(t *testing.T) {
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	hard := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
	}
	folder := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	tests := []struct {
		name    string
		headers []tar.Header
	}{
		{"parent", []tar.Header{tarFile("../evil", "x", 0)}},
		{"parent in the middle", []tar.Header{tarFile("a/../../evil", "x", 0)}},
		{"absolute", []tar.Header{tarFile("/tmp/evil", "x", 0)}},
		{"fifo", []tar.Header{{Typeflag: tar.TypeFifo, Name: "pipe"}}},
		{"character device", []tar.Header{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}}},
		{"block device", []tar.Header{{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}}},
		{"absolute link", []tar.Header{link("l", "/etc")}},
		{"link leaves", []tar.Header{link("a/l", "../../etc")}},
		{"link leaves through a link", []tar.Header{folder("a/b"), link("a/b/top", "../.."), link("l", "a/b/top/../x")}},
		{"written through a link", []tar.Header{folder("a"), link("l", "a"), tarFile("l/f", "x", 0)}},
		{"empty link", []tar.Header{{Typeflag: tar.TypeSymlink, Name: "l"}}},
		{"hard link leaves", []tar.Header{hard("h", "../etc/passwd")}},
		{"hard link to absolute", []tar.Header{hard("h", "/etc/passwd")}},
		{"hard link to nothing", []tar.Header{hard("h", "nothing")}},
		{"hard link through a link", []tar.Header{folder("a"), tarFile("a/f", "x", 0), link("l", "a"), hard("h", "l/f")}},
		{"folder becomes a link", []tar.Header{folder("a"), link("a", ".")}},
		{"file becomes a folder", []tar.Header{tarFile("a", "x", 0), tarFile("a/b", "x", 0)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			outer := t.TempDir()
			_, err := Unpack(bytes.NewReader(tarOf(t, tt.headers...)), filepath.Join(outer, "dest"), Limits{}, nil)
			if !errors.Is(err, ErrUnsafe) {
				t.Errorf("got %v, want ErrUnsafe", err)
			}
			if len(tree(t, outer))-len(tree(t, filepath.Join(outer, "dest"))) != 1 {
				t.Errorf("something lies beside the folder: %v", tree(t, outer))
			}
		})
	}
}

func TestUnpackDropsSpecialBitsAndKeepsFoldersWritable(t *testing.T) {
	data := tarOf(t, tarFile("tool", "x", 0o6755), tar.Header{Typeflag: tar.TypeDir, Name: "locked/", Mode: 0o1055}, tarFile("locked/in", "y", 0o444))
	dest := t.TempDir()
	if _, err := Unpack(bytes.NewReader(data), dest, Limits{}, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"tool": "-rwxr-xr-x x", "locked": "drwxr-xr-x ", "locked/in": "-r--r--r-- y"}
	if diff := cmp.Diff(want, tree(t, dest)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

// Attacks: 18.
func TestLaterEntryWinsWithoutWritingThroughALink(t *testing.T) {
	data := tarOf(t, tarFile("a", "old", 0), tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "a"},
		tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "a"}, tarFile("l", "new", 0), tarFile("h", "new", 0))
	dest := t.TempDir()
	if _, err := Unpack(bytes.NewReader(data), dest, Limits{}, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "-rw-r--r-- old", "l": "-rw-r--r-- new", "h": "-rw-r--r-- new"}
	if diff := cmp.Diff(want, tree(t, dest)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

// Attacks: 31.
func TestLimits(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(tarOf(t, tarFile("zeros", strings.Repeat("\x00", 70<<20), 0))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	three := tarOf(t, tarFile("a", "12345", 0), tarFile("b", "12345", 0), tarFile("c", "12345", 0))
	tests := []struct {
		name   string
		data   []byte
		limits Limits
		want   string
	}{
		{"entries", three, Limits{Entries: 2}, "more than 2 entries"},
		{"bytes", three, Limits{Bytes: 12}, "more than 12 bytes"},
		{"ratio", bomb.Bytes(), Limits{}, "times as many"},
		{"within", three, Limits{Entries: 3, Bytes: 20_000}, ""},
	}
	for _, tt := range tests {
		_, err := Unpack(bytes.NewReader(tt.data), t.TempDir(), tt.limits, nil)
		if tt.want == "" && err == nil {
			continue
		}
		if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestWindowsZip(t *testing.T) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range []string{`scripts\start.bat`, `scripts\sub\`} {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: name, CreatorVersion: 20}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dest := t.TempDir()
	if _, err := Unpack(bytes.NewReader(out.Bytes()), dest, Limits{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dest, "scripts", "start.bat")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dest, "scripts", "sub")); err != nil || !info.IsDir() {
		t.Errorf("scripts/sub: %v, %v", info, err)
	}
}

func TestBrokenInput(t *testing.T) {
	for _, f := range formats {
		data, _ := pack(t, sample(t), PackOptions{Format: f})
		if _, err := Unpack(bytes.NewReader(data[:len(data)/2]), t.TempDir(), Limits{}, nil); !errors.Is(err, ErrFormat) {
			t.Errorf("half of a %s: got %v, want ErrFormat", f, err)
		}
	}
	for _, text := range []string{"", "hello", strings.Repeat("no archive ", 1000), "BZh91AY&SY"} {
		if _, err := Unpack(strings.NewReader(text), t.TempDir(), Limits{}, nil); !errors.Is(err, ErrFormat) {
			t.Errorf("%.20q: got %v, want ErrFormat", text, err)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]Format{"a.ZIP": Zip, "a.tgz": TarGzip, "x/y.tar.zst": TarZstd, "b.tar": Tar, "noend": "", "a.gz": ""} {
		if got, ok := FormatOf(name); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t, want %q", name, got, ok, want)
		}
	}
}

// FuzzUnpack: whatever the bytes, nothing appears beside the folder, no link
// in it leads out, and nothing in it is special.
func FuzzUnpack(f *testing.F) {
	dir := sample(f)
	for _, format := range formats {
		data, _ := pack(f, dir, PackOptions{Format: format})
		f.Add(data)
	}
	f.Add(tarOf(f, tarFile("../evil", "x", 0)))
	f.Add(tarOf(f, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, tarFile("l/f", "x", 0o4755)))
	f.Add(tarOf(f, tarFile("a/f", "x", 0), tar.Header{Typeflag: tar.TypeLink, Name: "b/h", Linkname: "a/f"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		outer := t.TempDir()
		dest := filepath.Join(outer, "dest")
		_, _ = Unpack(bytes.NewReader(data), dest, Limits{Entries: 100, Bytes: 1 << 20}, nil)
		beside, err := os.ReadDir(outer)
		if err != nil || len(beside) != 1 {
			t.Fatalf("beside the folder: %v, %v", beside, err)
		}
		if err := inside(dest); err != nil {
			t.Fatal(err)
		}
	})
}

// inside checks everything below dest. Names may be any bytes, which an fs.FS
// doesn't take.
func inside(dest string) error {
	root, err := os.OpenRoot(dest)
	if err != nil {
		return err
	}
	defer root.Close()
	return filepath.WalkDir(dest, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		p, err := filepath.Rel(dest, at)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if m := info.Mode() &^ (fs.ModePerm | fs.ModeDir | fs.ModeSymlink); m != 0 {
			return fmt.Errorf("%s is special: %s", p, m)
		}
		if _, err := root.Stat(p); err != nil && strings.Contains(err.Error(), "escapes") {
			return fmt.Errorf("%s leads out: %w", p, err)
		}
		return nil
	})
}
