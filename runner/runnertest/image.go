package runnertest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
)

// BusyboxImage imports an image that holds this machine's static busybox, a
// passwd file with root and nobody, and nothing else. It returns its name.
func BusyboxImage(t testing.TB) string {
	t.Helper()
	testenv.Need(t, "docker", "busybox")
	im := newImage(t)
	im.busybox(true)
	return im.load("slipway-test-busybox")
}

// runtimes is what curated images say of themselves (CodeBuild reference 2.6).
const runtimes = `version: 0.1
runtimes:
  python:
    versions:
      3.1:
        commands: [echo python 3.1]
      3.10:
        commands: [echo python 3.10]
  nodejs:
    versions:
      18:
        commands: [echo nodejs 18]
      20:
        commands: [echo nodejs 20]
  docker:
    versions:
      19:
        commands: [echo docker 19]
`

// BashImage imports an image with bash, dash as sh, busybox for the rest, and
// a list of runtimes.
func BashImage(t testing.TB) string {
	t.Helper()
	testenv.Need(t, "docker", "busybox", "bash", "dash")
	im := newImage(t)
	im.busybox(false)
	im.program("bash", "bin/bash")
	im.program("dash", "bin/sh")
	im.file("codebuild/image/config/runtimes.yml", []byte(runtimes), 0o644)
	return im.load("slipway-test-bash")
}

// DashImage is BashImage without bash and without runtimes.
func DashImage(t testing.TB) string {
	t.Helper()
	testenv.Need(t, "docker", "busybox", "dash")
	im := newImage(t)
	im.busybox(false)
	im.program("dash", "bin/sh")
	return im.load("slipway-test-dash")
}

// GitImage is this machine's git with what it needs to fetch over TLS and to
// serve, and busybox for the rest: a base for images of programs.
func GitImage(t testing.TB) string {
	t.Helper()
	testenv.Need(t, "docker", "busybox", "git")
	im := newImage(t)
	im.busybox(true)
	im.program("git", "usr/bin/git")
	for _, name := range []string{"git-remote-http", "git-http-backend"} {
		im.program(gitCore+name, gitCore[1:]+name)
	}
	for _, name := range []string{"git-upload-pack", "git-receive-pack", "git-upload-archive"} {
		im.link(gitCore[1:]+name, "/usr/bin/git")
	}
	im.link(gitCore[1:]+"git-remote-https", "git-remote-http")
	im.copyOf("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt")
	return im.load("slipway-test-git")
}

// RedisImage is this machine's Redis, with busybox for the rest.
func RedisImage(t testing.TB) string {
	t.Helper()
	testenv.Need(t, "docker", "busybox", "redis-server", "redis-cli")
	im := newImage(t)
	im.busybox(true)
	im.program("redis-server", "usr/bin/redis-server")
	im.program("redis-cli", "usr/bin/redis-cli")
	return im.load("slipway-test-redis")
}

// gitCore is where Debian's git keeps its parts.
const gitCore = "/usr/lib/git-core/"

// NoShellImage has no shell.
func NoShellImage(t testing.TB) string {
	t.Helper()
	testenv.Need(t, "docker")
	im := newImage(t)
	im.file("etc/passwd", []byte("root:x:0:0::/root:/bin/sh\n"), 0o644)
	return im.load("slipway-test-noshell")
}

type testImage struct {
	t    testing.TB
	buf  bytes.Buffer
	tar  *tar.Writer
	have map[string]bool
}

func newImage(t testing.TB) *testImage {
	im := &testImage{t: t, have: map[string]bool{}}
	im.tar = tar.NewWriter(&im.buf)
	return im
}

func (im *testImage) entry(h *tar.Header, data []byte) {
	im.t.Helper()
	if im.have[h.Name] {
		return
	}
	im.have[h.Name] = true
	h.Size = int64(len(data))
	if err := im.tar.WriteHeader(h); err != nil {
		im.t.Fatal(err)
	}
	if _, err := im.tar.Write(data); err != nil {
		im.t.Fatal(err)
	}
}

func (im *testImage) file(name string, data []byte, mode int64) {
	im.t.Helper()
	im.entry(&tar.Header{Name: name, Mode: mode, Typeflag: tar.TypeReg}, data)
}

func (im *testImage) link(name, to string) {
	im.t.Helper()
	im.entry(&tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink, Mode: 0o777}, nil)
}

func (im *testImage) copyOf(from, name string) {
	im.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		im.t.Fatal(err)
	}
	if len(data) == 0 {
		im.t.Fatalf("%s is empty", from)
	}
	im.file(name, data, 0o755)
}

func (im *testImage) busybox(shell bool) {
	im.t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		im.t.Fatal(err)
	}
	im.copyOf(path, "bin/busybox")
	out, err := exec.Command(path, "--list").Output()
	if err != nil {
		im.t.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		if name == "busybox" || !shell && (name == "sh" || name == "ash" || name == "bash" || name == "[[") {
			continue
		}
		im.link("bin/"+name, "busybox")
	}
	im.file("etc/passwd", []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"), 0o644)
	im.file("etc/group", []byte("root:x:0:\nnogroup:x:65534:\n"), 0o644)
	for _, dir := range []string{"root/", "tmp/"} {
		im.entry(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o777}, nil)
	}
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

// program copies a program of this machine with the libraries that it needs.
func (im *testImage) program(name, to string) {
	im.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		im.t.Fatal(err)
	}
	im.copyOf(path, to)
	out, err := exec.Command("ldd", path).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "not a dynamic executable") {
		im.t.Fatal(fmt.Errorf("looking for the libraries of %s: %w: %s", path, err, out))
	}
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		im.copyOf(m[1], strings.TrimPrefix(m[1], "/"))
	}
}

func (im *testImage) load(name string) string {
	im.t.Helper()
	if err := im.tar.Close(); err != nil {
		im.t.Fatal(err)
	}
	cmd := exec.Command("docker", "import", "--change", "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin", "-", name)
	cmd.Stdin = &im.buf
	if out, err := cmd.CombinedOutput(); err != nil {
		im.t.Fatal(fmt.Errorf("importing image %s: %w\n%s", name, err, out))
	}
	return name
}
