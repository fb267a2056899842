package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func none(string) string { return "" }

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slipway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultIsValid(t *testing.T) {
	c := Default("/home/ada/.local/share")
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if c.Data != "/home/ada/.local/share/slipway" || c.Listen != "127.0.0.1:8080" || c.Engine != "docker" {
		t.Errorf("got %+v", c)
	}
}

// Defaults, then the file, then the environment; flags are the commands'.
func TestPrecedence(t *testing.T) {
	c := Default("/x")
	path := file(t, "listen: 127.0.0.1:1\nlog: debug\nlimits:\n  lease: 20s\nredis: {durability: relaxed}\n")
	err := c.Load(path, env(map[string]string{"SLIPWAY_LISTEN": "127.0.0.1:2", "SLIPWAY_LIMITS_LEASE": "30s", "SLIPWAY_ENGINE": ""}))
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Listen, c.Log, c.Limits.Lease, c.Redis.Durability, c.Engine, c.Limits.Drain}
	want := []any{"127.0.0.1:2", "debug", 30 * time.Second, "relaxed", "docker", 10 * time.Minute}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct {
		name, file string
		env        map[string]string
		want       []string
	}{
		{"an unknown key", "lissten: 127.0.0.1:1\n", nil, []string{"slipway.yaml:1:1: ", "field lissten not found (did you mean listen?)"}},
		{"an unknown key of a list", "projects: [{repository: local/a/b, imagee: x}]\n", nil, []string{"slipway.yaml:1:36: ", "imagee", "did you mean image?"}},
		{"an unknown nested key", "listen: 127.0.0.1:1\nredis:\n  adress: x\n", nil, []string{"slipway.yaml:3:3: ", "adress"}},
		{"a value of the wrong type", "runner:\n  slots: many\n", nil, []string{"slipway.yaml:2:10: ", "many"}},
		{"two documents", "log: info\n---\nlog: debug\n", nil, []string{"one document"}},
		{"a key twice", "log: info\nlog: debug\n", nil, []string{"log"}},
		{"a number that is none", "", map[string]string{"SLIPWAY_RUNNER_SLOTS": "two"}, []string{"SLIPWAY_RUNNER_SLOTS", `"two"`}},
		{"a duration that is none", "", map[string]string{"SLIPWAY_LIMITS_LEASE": "15"}, []string{"SLIPWAY_LIMITS_LEASE", `"15"`}},
		{"two at once", "", map[string]string{"SLIPWAY_RUNNER_SLOTS": "x", "SLIPWAY_GITHUB_APP_ID": "y"}, []string{"SLIPWAY_RUNNER_SLOTS", "SLIPWAY_GITHUB_APP_ID"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default("/x")
			err := c.Load(file(t, tt.file), env(tt.env))
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q isn't in: %v", want, err)
				}
			}
		})
	}
	c := Default("/x")
	if err := c.Load("/nowhere/slipway.yaml", none); err == nil || !strings.Contains(err.Error(), "/nowhere/slipway.yaml") {
		t.Errorf("a file that isn't there: %v", err)
	}
	if err := c.Load(file(t, ""), none); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// Every complaint names its key, all at once.
func TestCheck(t *testing.T) {
	tests := []struct {
		key string
		set func(c *Config)
	}{
		{"listen", func(c *Config) { c.Listen = "8080" }},
		{"listen", func(c *Config) { c.Listen = "" }},
		{"webhook_listen", func(c *Config) { c.WebhookListen = "x" }},
		{"external_url", func(c *Config) { c.ExternalURL = "ci.example.com" }},
		{"external_url", func(c *Config) { c.ExternalURL = "https://" }},
		{"server", func(c *Config) { c.Server = "ftp://x" }},
		{"github.api_url", func(c *Config) { c.GitHub.APIURL = "file:///etc" }},
		{"github.clone_url", func(c *Config) { c.GitHub.CloneURL = "ext::sh -c x" }},
		{"bitbucket.api_url", func(c *Config) { c.Bitbucket.APIURL = "api.bitbucket.org" }},
		{"bitbucket.clone_url", func(c *Config) { c.Bitbucket.CloneURL = "ssh://x" }},
		{"bitbucket_server.url", func(c *Config) { c.BitbucketServer.URL = "git.example.com" }},
		{"bitbucket_server.url", func(c *Config) { c.BitbucketServer.Token = "t" }},
		{"log", func(c *Config) { c.Log = "loud" }},
		{"engine", func(c *Config) { c.Engine = "podman" }},
		{"open_reads", func(c *Config) { c.OpenReads = "maybe" }},
		{"trusted_proxies", func(c *Config) { c.TrustedProxies = "10.0.0.1, nginx" }},
		{"requests.allow", func(c *Config) { c.Requests.Allow = "10.0.0.0/99" }},
		{"redis.durability", func(c *Config) { c.Redis.Durability = "" }},
		{"runner.slots", func(c *Config) { c.Runner.Slots = 0 }},
		{"runner.spare", func(c *Config) { c.Runner.Spare = -1 }},
		{"limits.lease", func(c *Config) { c.Limits.Lease = time.Millisecond }},
		{"limits.build_timeout", func(c *Config) { c.Limits.BuildTimeout = 0 }},
		{"limits.queued_timeout", func(c *Config) { c.Limits.QueuedTimeout = -time.Hour }},
		{"limits.drain", func(c *Config) { c.Limits.Drain = -1 }},
		{"limits.debug", func(c *Config) { c.Limits.Debug = -1 }},
		{"limits.report_spacing", func(c *Config) { c.Limits.ReportSpacing = -1 }},
		{"limits.executions", func(c *Config) { c.Limits.Executions = 0 }},
		{"limits.executions", func(c *Config) { c.Limits.Executions = 501 }},
		{"limits.infrastructure_retries", func(c *Config) { c.Limits.InfrastructureRetries = -1 }},
		{"encryption_key", func(c *Config) { c.EncryptionKey = "short" }},
		{"private_key_file", func(c *Config) { c.GitHub.AppID = 1 }},
		{"projects[0].repository", func(c *Config) { c.Projects = []Project{{Repository: "octo/web"}} }},
		{"projects[0].compute", func(c *Config) { c.Projects = []Project{{Repository: "github/octo/web", Compute: "huge"}} }},
		{"projects[0].timeout", func(c *Config) { c.Projects = []Project{{Repository: "github/octo/web", Timeout: -1}} }},
		{"projects[0].status_context", func(c *Config) { c.Projects = []Project{{Repository: "github/octo/web", StatusContext: "a\nb"}} }},
		{"projects[1].status_context", func(c *Config) {
			c.Projects = []Project{{Repository: "github/octo/web", StatusContext: "ci"}, {Repository: "github/Octo/web", Name: "b", StatusContext: "ci"}}
		}},
		{"projects[0].queued_timeout", func(c *Config) { c.Projects = []Project{{Repository: "github/octo/web", QueuedTimeout: -1}} }},
		{"projects[0].concurrency", func(c *Config) { c.Projects = []Project{{Repository: "github/octo/web", Concurrency: -1}} }},
		{"projects[0].variables", func(c *Config) {
			c.Projects = []Project{{Repository: "github/octo/web", Variables: map[string]string{"CODEBUILD_X": "1"}}}
		}},
		{"deployment_groups[0].name", func(c *Config) { c.DeploymentGroups = []DeploymentGroup{{Repository: "github/octo/web"}} }},
		{"deployment_groups[1].name", func(c *Config) {
			g := DeploymentGroup{Name: "a", Repository: "github/octo/web"}
			c.DeploymentGroups = []DeploymentGroup{g, g}
		}},
		{"deployment_groups[0].repository", func(c *Config) { c.DeploymentGroups = []DeploymentGroup{{Name: "a"}} }},
		{"deployment_groups[0].root", func(c *Config) {
			c.DeploymentGroups = []DeploymentGroup{{Name: "a", Repository: "github/octo/web", Root: "relative"}}
		}},
		{"deployment_groups[0].branches", func(c *Config) {
			c.DeploymentGroups = []DeploymentGroup{{Name: "a", Repository: "github/octo/web", Branches: []string{"[x"}}}
		}},
		{"deployment_groups[0].file_exists_behavior", func(c *Config) {
			c.DeploymentGroups = []DeploymentGroup{{Name: "a", Repository: "github/octo/web", FileExistsBehavior: "MAYBE"}}
		}},
		{"agent.tags", func(c *Config) { c.Agent.Tags = "role" }},
		{"agent.max_revisions", func(c *Config) { c.Agent.MaxRevisions = 0 }},
		{"limits.agent_lease", func(c *Config) { c.Limits.AgentLease = 0 }},
		{"deployment_groups[0].config", fleetGroup(DeploymentGroup{Config: "CodeDeployDefault.Canary"})},
		{"deployment_groups[0].minimum_healthy_hosts", fleetGroup(DeploymentGroup{Config: "mine", MinimumHealthyHosts: "100%"})},
		{"deployment_groups[0].tags.role", fleetGroup(DeploymentGroup{Tags: map[string]string{"role": "web|"}})},
		{"deployment_groups[0].root", fleetGroup(DeploymentGroup{Tags: map[string]string{"role": "web"}, Root: "/srv"})},
		{"deployment_groups[0].alarms: want prometheus.url", fleetGroup(DeploymentGroup{Alarms: []string{"errors"}})},
		{"deployment_groups[0].alarms: want at most 10", fleetGroup(DeploymentGroup{Alarms: make([]string, 11)})},
		{"deployment_groups[0].ignore_alarm_failures", fleetGroup(DeploymentGroup{IgnoreAlarmFailures: true})},
		{"deployment_groups[0].catch_up", fleetGroup(DeploymentGroup{CatchUp: true})},
		{"deployment_groups[0].bake", fleetGroup(DeploymentGroup{Bake: -time.Second})},
		{"deployment_groups[0].zones.monitor", fleetGroup(DeploymentGroup{Zones: &Zones{Monitor: 49 * time.Hour}})},
		{"deployment_groups[0].zones.minimum_healthy_hosts", fleetGroup(DeploymentGroup{Zones: &Zones{MinimumHealthyHosts: "most"}})},
		{"deployment_groups[0].auto_rollback", fleetGroup(DeploymentGroup{AutoRollback: []string{"ALWAYS"}})},
	}
	all := Default("/x")
	for _, tt := range tests {
		c := Default("/x")
		tt.set(&c)
		err := c.Check()
		if err == nil || !strings.Contains(err.Error(), tt.key) {
			t.Errorf("%s: got %v", tt.key, err)
		}
		if strings.HasPrefix(tt.key, "projects") || strings.HasPrefix(tt.key, "deployment") {
			continue
		}
		tt.set(&all)
	}
	lines := strings.Split(all.Check().Error(), "\n")
	if len(lines) < 15 {
		t.Errorf("all mistakes at once are %d lines:\n%v", len(lines), all.Check())
	}
	if again := all.Check(); again.Error() != strings.Join(lines, "\n") {
		t.Error("the order of complaints changes from call to call")
	}
}

// What is secret is told by name here once more, so that a new key can't be
// forgotten.
func TestSecrets(t *testing.T) {
	c := Default("/x")
	var want []string
	for _, f := range Fields(c) {
		name := f.Key[strings.LastIndex(f.Key, ".")+1:]
		if f.Type != "string" || strings.HasSuffix(name, "_file") || !strings.Contains(name, "token") && !strings.Contains(name, "secret") && name != "encryption_key" {
			continue
		}
		want = append(want, "value-of-"+f.Key)
	}
	if len(want) < 6 {
		t.Fatalf("found only %v", want)
	}
	values := map[string]string{"SLIPWAY_REDIS_URL": "redis://user:pass-word@10.0.0.1:6379/0"}
	for _, f := range Fields(c) {
		if slices.Contains(want, "value-of-"+f.Key) {
			values[f.Env] = "value-of-" + f.Key
		}
	}
	if err := c.Load("", env(values)); err != nil {
		t.Fatal(err)
	}
	got := Secrets(c)
	for _, w := range append(want, "pass-word") {
		if !slices.Contains(got, w) {
			t.Errorf("%s isn't masked", w)
		}
	}
	c.GitHub.WebhookSecret = "old-secret, new-secret"
	got = Secrets(c)
	if !slices.Contains(got, "old-secret") || !slices.Contains(got, "new-secret") {
		t.Errorf("secrets in rotation: %v", got)
	}
	c.AdminToken = "with,comma-inside"
	if !slices.Contains(Secrets(c), "with,comma-inside") {
		t.Error("a token with a comma isn't masked whole")
	}
}

// The reference is printed from Fields, so every key needs its words.
func TestFieldsAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Fields(Default("/x")) {
		if f.Doc == "" {
			t.Errorf("%s has no description", f.Key)
		}
		if f.Env != "" && (!strings.HasPrefix(f.Env, "SLIPWAY_") || seen[f.Env]) {
			t.Errorf("%s: variable %q", f.Key, f.Env)
		}
		seen[f.Env] = true
		if scalar := f.Type == "string" || f.Type == "int" || f.Type == "int64" || f.Type == "bool" || f.Type == "time.Duration"; scalar != (f.Env != "") {
			t.Errorf("%s: a %s with variable %q", f.Key, f.Type, f.Env)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("listen: 127.0.0.1:1\nprojects:\n- repository: github/octo/web\n  timeout: 5m\n")
	f.Add("redis: [")
	f.Add("limits: {lease: 1}")
	f.Fuzz(func(t *testing.T, text string) {
		c := Default("/x")
		if err := c.decode([]byte(text)); err == nil {
			_ = c.Check() // must not panic, whatever was read
		}
	})
}

// fleetGroup sets one group, which is right but for what g says.
func fleetGroup(g DeploymentGroup) func(*Config) {
	g.Name, g.Repository = "a", "github/octo/web"
	return func(c *Config) { c.DeploymentGroups = []DeploymentGroup{g} }
}

func TestFilterGroups(t *testing.T) {
	c := Default(t.TempDir())
	err := c.Load(file(t, "projects:\n  - repository: github/o/r\n    auto_retry: 101\n    filter_groups:\n      - - {type: EVENT, pattern: PUSH}\n        - {type: HEAD_REF, pattern: x, exclude_matched_pattern: true}\n      - - {type: HEAD_REF, pattern: (}\n"), none)
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Projects[0].Groups()[0][1]; f.Type != "HEAD_REF" || f.Pattern != "x" || !f.Exclude {
		t.Errorf("got %+v", f)
	}
	err = c.Check()
	for _, want := range []string{"projects[0].auto_retry: want 0 to 100, have 101", "projects[0].filter_groups[1]: want an EVENT filter", "projects[0].filter_groups[1][0]: HEAD_REF: error parsing regexp"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
