package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// dockerSocket is where the engine listens.
const dockerSocket = "/var/run/docker.sock"

// benchImage is busybox and nothing else.
const benchImage = "slipway-bench-busybox:latest"

// engine speaks to Docker with as little between as can be: it is the floor.
type engine struct{ client *http.Client }

func newEngine() *engine {
	var d net.Dialer
	return &engine{client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: 4,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", dockerSocket)
		},
	}}}
}

// call makes one request; into, if not nil, takes the answer's JSON.
func (e *engine) call(ctx context.Context, method, path string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://docker/v1.41"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, bytes.TrimSpace(data))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// importImage makes the image of this machine's busybox.
func (e *engine) importImage(ctx context.Context) error {
	program, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("the image is made of the static busybox on PATH: %w", err)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	headers := []*tar.Header{
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(binary))},
	}
	applets, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return fmt.Errorf("asking busybox for its applets: %w", err)
	}
	for _, name := range strings.Fields(string(applets)) {
		if name != "busybox" {
			headers = append(headers, &tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"})
		}
	}
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(binary); err != nil {
				return err
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	name, tag, _ := strings.Cut(benchImage, ":")
	return e.call(ctx, http.MethodPost, "/images/create?fromSrc=-&repo="+name+"&tag="+tag, &b, nil)
}

func (e *engine) removeImage(ctx context.Context) error {
	return e.call(ctx, http.MethodDelete, "/images/"+benchImage, nil, nil)
}

// spans is how long a build took: to its first line, and to its end.
type spans struct{ first, whole time.Duration }

// runApart is runBare on a network of its own, which is made before and removed
// after: what isolates one build from another.
func (e *engine) runApart(ctx context.Context, command string) (spans, error) {
	begin := time.Now()
	name := fmt.Sprintf("slwb%08x", rand.Uint32())
	body := marshal(map[string]any{
		"Name": name, "Driver": "bridge", "Labels": map[string]string{"slipway.bench": "floor"},
		"Options": map[string]string{"com.docker.network.bridge.name": name, "com.docker.network.bridge.enable_icc": "false"},
	})
	if err := e.call(ctx, http.MethodPost, "/networks/create", bytes.NewReader(body), nil); err != nil {
		return spans{}, err
	}
	made := time.Since(begin)
	took, err := e.runOn(ctx, name, command)
	removed := e.call(context.WithoutCancel(ctx), http.MethodDelete, "/networks/"+name, nil, nil)
	return spans{made + took.first, time.Since(begin)}, errors.Join(err, removed)
}

// runBare is a one-command container on the network that all share.
func (e *engine) runBare(ctx context.Context, command string) (spans, error) {
	return e.runOn(ctx, "bridge", command)
}

// runOn is a one-command container by the calls that nobody can do without:
// create, attach, start, wait, remove.
func (e *engine) runOn(ctx context.Context, network, command string) (spans, error) {
	begin := time.Now()
	body := marshal(map[string]any{
		"Image": benchImage, "Cmd": []string{"/bin/sh", "-c", command}, "Labels": map[string]string{"slipway.bench": "floor"},
		"HostConfig": map[string]any{"NetworkMode": network, "LogConfig": map[string]any{"Type": "none"}},
	})
	var created struct{ ID string }
	if err := e.call(ctx, http.MethodPost, "/containers/create", bytes.NewReader(body), &created); err != nil {
		return spans{}, err
	}
	path := "/containers/" + created.ID
	gone := false
	defer func() {
		if !gone {
			_ = e.call(context.WithoutCancel(ctx), http.MethodDelete, path+"?force=1", nil, nil)
		}
	}()
	output, err := attach(ctx, path)
	if err != nil {
		return spans{}, err
	}
	defer output.Close()
	if err := e.call(ctx, http.MethodPost, path+"/start", nil, nil); err != nil {
		return spans{}, err
	}
	if _, err := io.ReadFull(output, make([]byte, 9)); err != nil { // a frame's header and one byte
		return spans{}, fmt.Errorf("reading the first line: %w", err)
	}
	first := time.Since(begin)
	if _, err := io.Copy(io.Discard, output); err != nil {
		return spans{}, err
	}
	var end struct{ StatusCode int }
	if err := e.call(ctx, http.MethodPost, path+"/wait", nil, &end); err != nil {
		return spans{}, err
	}
	if err := e.call(ctx, http.MethodDelete, path, nil, nil); err != nil {
		return spans{}, err
	}
	gone = true
	if end.StatusCode != 0 {
		return spans{}, fmt.Errorf("the command ended with %d", end.StatusCode)
	}
	return spans{first, time.Since(begin)}, nil
}

// attached is the output of a container, in frames.
type attached struct {
	*bufio.Reader
	net.Conn
}

func (a attached) Read(p []byte) (int, error) { return a.Reader.Read(p) }

func attach(ctx context.Context, path string) (io.ReadCloser, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", dockerSocket)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST /v1.41%s/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: docker\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", path)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("attaching: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols && res.StatusCode != http.StatusOK {
		conn.Close()
		return nil, fmt.Errorf("attaching: %s", res.Status)
	}
	return attached{r, conn}, nil
}
