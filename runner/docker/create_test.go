package docker_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// interrupter passes requests on to the Docker engine, which goes on with one
// that its caller gives up. At the nth request to make something it has the
// build stopped, before the engine hears of it.
type interrupter struct {
	mu    sync.Mutex
	left  int
	stop  context.CancelFunc
	paths []string
}

func (i *interrupter) arm(nth int, stop context.CancelFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.left, i.stop = nth, stop
}

func (i *interrupter) passed(path string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !strings.HasSuffix(path, "/create") || i.left == 0 {
		return
	}
	i.paths = append(i.paths, path)
	if i.left--; i.left == 0 {
		i.stop()
	}
}

// serve is the address at which it listens.
func (i *interrupter) serve(t *testing.T) string {
	return "tcp://" + i.server(t).Listener.Addr().String()
}

func (i *interrupter) server(t *testing.T) *httptest.Server {
	to, _ := url.Parse("http://docker")
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", "/var/run/docker.sock")
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.passed(r.URL.Path)
		proxy.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
	}))
	t.Cleanup(s.Close)
	return s
}

// Where the engine has gone, nobody can tell that the container ended by
// itself.
func TestEngineThatHasGone(t *testing.T) {
	testenv.Need(t, "docker")
	image := runnertest.BusyboxImage(t)
	between := new(interrupter).server(t)
	e, err := docker.Open(t.Context(), docker.Options{Data: t.TempDir(), Prepared: -1, Host: "tcp://" + between.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	place := t.TempDir()
	c, err := e.Start(t.Context(), runner.Spec{Build: "b-1", Image: image, Place: runner.Place{Work: place, Source: place, SourcePath: "/src"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Answers(t.Context()); err != nil {
		t.Error(err)
	}
	if why, err := c.Died(t.Context()); err != nil {
		t.Errorf("got %q, %v of an engine that is there", why, err)
	}
	c.Remove()
	shut(t, e)
	_ = between.Listener.Close()
	if err := e.Answers(t.Context()); err == nil {
		t.Error("the engine answers")
	}
	if why, err := c.Died(t.Context()); err == nil {
		t.Errorf("got %q, want an error", why)
	}
}

// A build that ends while the engine makes something for it leaves nothing
// behind: what the engine makes is known, and removed.
func TestStoppedWhileTheEngineMakesSomething(t *testing.T) {
	testenv.Need(t, "docker")
	image := runnertest.BusyboxImage(t)
	var between interrupter
	host := between.serve(t)
	db := pipeline.Service{Name: "db", Image: image, Command: []string{"sh", "-c", serve}, Port: 8080}
	for n, what := range []string{"network", "build's container", "service's container", "container that watches the port"} {
		t.Run(what, func(t *testing.T) {
			e, err := docker.Open(t.Context(), docker.Options{
				Data: t.TempDir(), Prepared: -1, Host: host, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			docker.Settle(e) // the network that it makes ahead
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			between.arm(n+1, stop)
			place := t.TempDir()
			c, err := e.Start(ctx, runner.Spec{Build: "b-1", Image: image, Services: []pipeline.Service{db}, Place: runner.Place{Work: place, Source: place, SourcePath: "/src"}})
			if err == nil {
				err = c.(interface{ Ready(context.Context) error }).Ready(ctx)
				c.Remove()
			}
			if err == nil {
				t.Error("the build was not stopped")
			}
			shut(t, e)
			checkNothingLeft(t, e)
		})
	}
	if len(between.paths) != 1+2+3+4 {
		t.Errorf("stopped after the requests %q", between.paths)
	}
}
