// Package chart tests charts/slipway with Helm's own code, which it renders,
// lints and decodes; no cluster and no helm command are needed.
package chart

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

var update = flag.Bool("update", false, "rewrite the golden manifests")

const folder = "../../charts/slipway"

// cases are the values files below testdata; each has its golden manifests.
var cases = []string{"default", "external"}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func values(t *testing.T, name string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValuesFile(filepath.Join("testdata", name+".values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// render is helm template: the manifests by file name, checked by the schema.
func render(t *testing.T, v map[string]any) (map[string]string, error) {
	t.Helper()
	c := load(t)
	release := chartutil.ReleaseOptions{Name: "ci", Namespace: "build", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, v, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

func mustRender(t *testing.T, v map[string]any) map[string]string {
	t.Helper()
	files, err := render(t, v)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestLint(t *testing.T) {
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			// Warnings, too, but not the advice to have an icon.
			for _, m := range lint.AllWithKubeVersion(folder, values(t, name), "build", nil).Messages {
				if m.Severity >= support.WarningSev {
					t.Error(m)
				}
			}
		})
	}
}

func TestGolden(t *testing.T) {
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			files := mustRender(t, values(t, name))
			var b strings.Builder
			for _, file := range slices.Sorted(maps.Keys(files)) {
				if text := strings.TrimSpace(files[file]); text != "" {
					b.WriteString("# " + file + "\n" + text + "\n---\n")
				}
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("manifests (-want +got), rewrite with make golden:\n%s", diff)
			}
		})
	}
}

// decode reads manifests into the types of k8s.io/api. An unknown or repeated
// field is an error.
func decode(t *testing.T, files map[string]string) []runtime.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(file, ".yaml") {
			continue
		}
		for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(files[file], -1) {
			if strings.TrimSpace(doc) == "" {
				continue
			}
			o, _, err := decoder.Decode([]byte(doc), nil, nil)
			if err != nil {
				t.Errorf("%s: %v\n%s", file, err, doc)
				continue
			}
			objects = append(objects, o)
		}
	}
	return objects
}

func TestManifestsDecodeStrictly(t *testing.T) {
	for name, want := range map[string]int{"default": 11, "external": 9} {
		if got := decode(t, mustRender(t, values(t, name))); len(got) != want {
			t.Errorf("%s: got %d objects, want %d", name, len(got), want)
		}
	}
}

// pods are the pod templates by the name of their owner.
func pods(t *testing.T, name string) map[string]corev1.PodSpec {
	t.Helper()
	found := map[string]corev1.PodSpec{}
	for _, o := range decode(t, mustRender(t, values(t, name))) {
		switch o := o.(type) {
		case *appsv1.Deployment:
			found[o.Name] = o.Spec.Template.Spec
		case *appsv1.StatefulSet:
			found[o.Name] = o.Spec.Template.Spec
		}
	}
	return found
}

func TestPodsAreConfined(t *testing.T) {
	for _, name := range cases {
		for owner, pod := range pods(t, name) {
			if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
				t.Errorf("%s %s: the account's token is mounted", name, owner)
			}
			for _, c := range pod.Containers {
				s := c.SecurityContext
				if s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation ||
					!slices.Contains(s.Capabilities.Drop, "ALL") || s.Privileged != nil {
					t.Errorf("%s %s: container %s isn't confined: %+v", name, owner, c.Name, s)
				}
				nonRoot := s.RunAsNonRoot
				if nonRoot == nil {
					nonRoot = pod.SecurityContext.RunAsNonRoot
				}
				if nonRoot == nil || !*nonRoot {
					t.Errorf("%s %s: container %s may be root", name, owner, c.Name)
				}
			}
		}
	}
}

// known are the variables that the program reads; docs/configuration.md says
// what they mean.
var known = strings.Fields(`SLIPWAY_CONFIG SLIPWAY_LISTEN SLIPWAY_EXTERNAL_URL SLIPWAY_DATA SLIPWAY_REDIS_URL
SLIPWAY_ENGINE SLIPWAY_IMAGE SLIPWAY_RUNNER_SLOTS SLIPWAY_RUNNER_LABELS SLIPWAY_RUNNER_TOKEN
SLIPWAY_GITHUB_APP_ID SLIPWAY_GITHUB_PRIVATE_KEY_FILE SLIPWAY_GITHUB_WEBHOOK_SECRET SLIPWAY_GITHUB_API_URL
SLIPWAY_GITHUB_CLONE_URL SLIPWAY_BITBUCKET_WEBHOOK_SECRET SLIPWAY_BITBUCKET_API_URL SLIPWAY_BITBUCKET_TOKEN
SLIPWAY_BITBUCKET_SERVER_WEBHOOK_SECRET SLIPWAY_BITBUCKET_SERVER_URL SLIPWAY_BITBUCKET_SERVER_TOKEN
SLIPWAY_BLOB_URL SLIPWAY_ENCRYPTION_KEY SLIPWAY_LOG SLIPWAY_ADMIN_TOKEN SLIPWAY_SERVER SLIPWAY_TOKEN
SLIPWAY_LIMITS_DRAIN`)

func TestVariables(t *testing.T) {
	name := regexp.MustCompile(`SLIPWAY_[A-Z_]+`)
	for _, c := range cases {
		for owner, pod := range pods(t, c) {
			if links := pod.EnableServiceLinks; owner != "ci-slipway-redis" && (links == nil || *links) {
				t.Errorf("%s %s: services' variables would be named like ours", c, owner)
			}
			for _, container := range pod.Containers {
				for _, v := range container.Env {
					if strings.HasPrefix(v.Name, "SLIPWAY_") && !slices.Contains(known, v.Name) {
						t.Errorf("%s %s: nothing reads %s", c, owner, v.Name)
					}
					secret := regexp.MustCompile(`(SECRET|TOKEN|KEY|PASSWORD)$`).MatchString(v.Name)
					if secret && (v.ValueFrom == nil || v.ValueFrom.SecretKeyRef == nil) {
						t.Errorf("%s %s: %s isn't taken from a Secret", c, owner, v.Name)
					}
				}
			}
		}
	}
	for _, file := range []string{"Dockerfile", "compose.yaml"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range name.FindAllString(string(text), -1) {
			if !slices.Contains(known, v) {
				t.Errorf("%s: nothing reads %s", file, v)
			}
		}
	}
}

// TestRunnersReachNoRedis: runners speak to the server only.
// TestServiceMonitor: the operator's types aren't Kubernetes' own, so it is in
// no golden file.
func TestServiceMonitor(t *testing.T) {
	v := values(t, "default")
	v["serviceMonitor"] = map[string]any{"enabled": true, "labels": map[string]any{"release": "prometheus"}}
	var text string
	for file, rendered := range mustRender(t, v) {
		if strings.HasSuffix(file, "servicemonitor.yaml") {
			text = rendered
		}
	}
	for _, want := range []string{"kind: ServiceMonitor", "release: prometheus", "interval: 30s", "path: /metrics", "key: admin-token", "port: http"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestRunnersReachNoRedis(t *testing.T) {
	for _, c := range cases {
		for _, container := range pods(t, c)["ci-slipway-runner"].Containers {
			for _, v := range container.Env {
				if strings.Contains(v.Name, "REDIS") || strings.Contains(v.Name, "BLOB") || strings.Contains(v.Name, "ADMIN") {
					t.Errorf("%s: a runner is given %s", c, v.Name)
				}
			}
		}
	}
}

func TestRefused(t *testing.T) {
	object := func(pairs ...any) map[string]any {
		o := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			o[pairs[i].(string)] = pairs[i+1]
		}
		return o
	}
	tests := []struct {
		name   string
		values map[string]any
		want   string
	}{
		{"an unknown key", object("server", object("replica", 2)), "'replica' not allowed"},
		{"a wrong type", object("runner", object("slots", "many")), "got string, want integer"},
		{"replicas without a shared store", object("server", object("replicas", 3)), "server.replicas: more than one needs server.blobURL"},
		{"replicas over a folder", object("server", object("replicas", 3, "blobURL", "file:///data")), "server.replicas: more than one needs server.blobURL"},
		{"no Redis", object("redis", object("bundled", object("enabled", false))), "redis: enable one of"},
		{"two", object("redis", object("external", object("enabled", true))), "redis: enable one of"},
		{"GitHub without an App", object("forges", object("github", object("enabled", true))), "forges.github.appID"},
		{"Bitbucket Server without an address", object("forges", object("bitbucketServer", object("enabled", true))), "forges.bitbucketServer.url"},
		{"an ingress without a host", object("server", object("ingress", object("enabled", true))), "server.ingress.host"},
		{"a digest that isn't one", object("image", object("digest", "latest")), "/image/digest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := render(t, tt.values); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestSettingsReachTheManifests changes one value each and looks for it.
func TestSettingsReachTheManifests(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	tests := []struct {
		name, file, want string
		values           map[string]any
	}{
		{"a digest wins over the tag", "server.yaml", "image: ghcr.io/slipway-ci/slipway@" + digest,
			map[string]any{"image": map[string]any{"tag": "v1", "digest": digest}}},
		{"an App's ID as a number stays one", "server.yaml", `value: "12345678"`,
			map[string]any{"forges": map[string]any{"github": map[string]any{"enabled": true, "appID": 12345678}}}},
		{"the configuration file", "config.yaml", "    limits:\n      lease: 20s",
			map[string]any{"config": map[string]any{"limits": map[string]any{"lease": "20s"}}}},
		{"a claim of one's own", "server.yaml", "claimName: mine",
			map[string]any{"server": map[string]any{"persistence": map[string]any{"existingClaim": "mine"}}}},
		{"a name of one's own", "server.yaml", "name: forge-server",
			map[string]any{"fullnameOverride": "forge"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := mustRender(t, tt.values)
			decode(t, files)
			if text := files["slipway/templates/"+tt.file]; !strings.Contains(text, tt.want) {
				t.Errorf("no %q in\n%s", tt.want, text)
			}
		})
	}
}
