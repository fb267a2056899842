package main

import (
	"net"
	"slices"
	"testing"

	"github.com/slipway-ci/slipway/internal/config"
)

func TestOpenReads(t *testing.T) {
	here, everywhere := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4zero}
	tests := []struct {
		name, setting, external string
		listens                 net.Addr
		want                    bool
	}{
		{"on loopback alone", "auto", "http://127.0.0.1:8080", here, true},
		{"on loopback by name", "auto", "http://localhost:8080", here, true},
		{"behind a proxy on this host", "auto", "https://ci.example.com", here, false},
		{"on every address", "auto", "http://127.0.0.1:8080", everywhere, false},
		{"asked for", "yes", "https://ci.example.com", everywhere, true},
		{"refused", "no", "http://127.0.0.1:8080", here, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := openReads(config.Config{OpenReads: tt.setting, ExternalURL: tt.external}, tt.listens); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// A job waits for the exact list of its labels, so a runner serves every part
// of its own.
func TestClassesOfLabels(t *testing.T) {
	cfg := config.Config{Runner: config.Runner{Labels: " linux, gpu,linux"}}
	got, err := classes(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"build||", "build|gpu|", "build|linux|", "build|gpu,linux|"} {
		if !slices.Contains(got, want) {
			t.Errorf("class %q is not served: %q", want, got)
		}
	}
	cfg.Runner.Labels = "a,b,c,d,e,f,g,h,i"
	if _, err := classes(cfg); err == nil {
		t.Error("nine labels are taken, which makes 512 classes")
	}
}
