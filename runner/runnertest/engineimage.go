package runnertest

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
)

// entrypoint starts the engine as that of AWS's images does, with what a
// machine without every right has to offer.
const entrypoint = `#!/bin/sh
set -e
dockerd --host=unix:///var/run/docker.sock --storage-driver=vfs --bridge=none --iptables=false >/var/log/docker.log 2>&1 &
tries=0
until docker info >/dev/null 2>&1; do
	[ "$tries" -lt 60 ] || { cat /var/log/docker.log; exit 1; }
	tries=$((tries + 1))
	sleep 1
done
eval "$@"
`

// DockerImage is this machine's Docker engine and client, with an entrypoint
// such as AWS's images have, and an aws that knows one password. It is made
// once for each version of the engine.
func DockerImage(t testing.TB) string {
	t.Helper()
	programs := []string{"dockerd", "containerd", "containerd-shim-runc-v2", "runc", "docker"}
	testenv.Need(t, append(programs, "busybox")...)
	return cached(t, "slipway-test-docker", programs, func(im *testImage) {
		im.busybox(true)
		for _, name := range programs {
			im.program(name, "usr/bin/"+name)
		}
		im.file("usr/bin/aws", []byte("#!/bin/sh\n[ \"$1 $2 $3\" = 'ecr get-login-password --region' ] && echo \"$REGISTRY_PASSWORD\"\n"), 0o755)
		im.file("usr/local/bin/dockerd-entrypoint.sh", []byte(entrypoint), 0o755)
		im.entry(&tar.Header{Name: "var/log/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	})
}

// TestBinaryImage holds the running test, at /test, and nothing else.
func TestBinaryImage(t testing.TB, name string) string {
	t.Helper()
	testenv.Need(t, "docker")
	im := newImage(t)
	im.program(os.Args[0], "test")
	im.entry(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o777}, nil)
	return im.load(name)
}

// cached loads an image under a tag of its programs' sizes and ages, unless it
// is there: to import hundreds of megabytes takes its time.
func cached(t testing.TB, name string, programs []string, make func(*testImage)) string {
	t.Helper()
	sum := sha256.New()
	for _, p := range programs {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(sum, p, info.Size(), info.ModTime().UnixNano())
	}
	name += ":" + fmt.Sprintf("%x", sum.Sum(nil))[:12]
	if exec.Command("docker", "image", "inspect", name).Run() == nil {
		return name
	}
	im := newImage(t)
	make(im)
	return im.load(name)
}
