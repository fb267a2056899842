// Package config is Slipway's one configuration: defaults, then the file, then
// SLIPWAY_* variables, then flags; checked whole before anything starts.
package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/pipeline"
)

// Config is slipway.yaml. A field's `env` tag names its variable; its `doc`
// tag is its line in docs/configuration.md. Lists of structs and maps come
// from the file only.
type Config struct {
	Listen        string `yaml:"listen" env:"SLIPWAY_LISTEN" doc:"Address that pages, API and webhooks listen on."`
	WebhookListen string `yaml:"webhook_listen" env:"SLIPWAY_WEBHOOK_LISTEN" doc:"Puts webhooks on a listener of their own."`
	ExternalURL   string `yaml:"external_url" env:"SLIPWAY_EXTERNAL_URL" doc:"How browsers and forges reach this server; links in checks begin with it. Default: http:// and the listen address."`
	Data          string `yaml:"data" env:"SLIPWAY_DATA" doc:"Folder for everything kept on this host."`
	Log           string `yaml:"log" env:"SLIPWAY_LOG" doc:"Least level that is logged: debug, info, warn or error."`
	AdminToken    string `yaml:"admin_token" env:"SLIPWAY_ADMIN_TOKEN" secret:"yes" doc:"An API token with every right. Without one, up and demo make one."`
	RunnerToken   string `yaml:"runner_token" env:"SLIPWAY_RUNNER_TOKEN" secret:"yes" doc:"The token that runners and agents sign in with. Default: derived from the admin token."`
	EncryptionKey string `yaml:"encryption_key" env:"SLIPWAY_ENCRYPTION_KEY" secret:"yes" doc:"Key that everything in the blob store is encrypted with: base64 of 32 bytes. During a rotation several, comma-separated: the first one encrypts, all decrypt."`
	EncryptionKMS string `yaml:"encryption_kms" env:"SLIPWAY_ENCRYPTION_KMS" doc:"Key of an AWS KMS that encrypts instead: awskms:///ARN-or-alias?region=REGION. Keys of encryption_key still decrypt."`
	PlainBefore   string `yaml:"encryption_plaintext_before" env:"SLIPWAY_ENCRYPTION_PLAINTEXT_BEFORE" doc:"When encryption began, as 2026-01-31T00:00:00Z: what is older may be read although it isn't encrypted."`
	BlobURL       string `yaml:"blob_url" env:"SLIPWAY_BLOB_URL" doc:"Where logs, artifacts, caches and large webhooks are kept: file:///FOLDER, or s3://BUCKET?region=REGION, with endpoint=URL for a server of your own. Default: a folder in the data folder."`
	Engine        string `yaml:"engine" env:"SLIPWAY_ENGINE" doc:"What builds run in: docker, or host (which isolates nothing)."`
	Image         string `yaml:"image" env:"SLIPWAY_IMAGE" doc:"Image of a build whose project names none."`

	Redis           Redis           `yaml:"redis"`
	Runner          Runner          `yaml:"runner"`
	Agent           Agent           `yaml:"agent"`
	GitHub          GitHub          `yaml:"github"`
	Bitbucket       Bitbucket       `yaml:"bitbucket"`
	BitbucketServer BitbucketServer `yaml:"bitbucket_server"`
	SignIn          SignIn          `yaml:"sign_in"`
	OAuth           OAuth           `yaml:"oauth"`
	Requests        Requests        `yaml:"requests"`
	Prometheus      Prometheus      `yaml:"prometheus"`
	Secrets         SecretStores    `yaml:"secrets"`
	Limits          Limits          `yaml:"limits"`
	Retention       Retention       `yaml:"retention"`
	Notifications   Notifications   `yaml:"notifications"`
	Server          string          `yaml:"server" env:"SLIPWAY_SERVER" doc:"The server that runners, agents and commands talk to."`
	Token           string          `yaml:"token" env:"SLIPWAY_TOKEN" secret:"yes" doc:"The token that they talk to it with."`
	// ChatPrefixOnly is for where another bot listens, too.
	ChatPrefixOnly bool `yaml:"chat_prefix_only" env:"SLIPWAY_CHAT_PREFIX_ONLY" doc:"Whether only comments that begin with /slipway are read as commands, because another bot listens for the others."`

	TrustedProxies string `yaml:"trusted_proxies" env:"SLIPWAY_TRUSTED_PROXIES" doc:"Addresses and networks of the proxies in front, comma-separated, such as 10.0.0.0/8. What they say in X-Forwarded-For is taken for a request's origin, in the audit log and in the limit of wrong tokens."`
	OpenReads      string `yaml:"open_reads" env:"SLIPWAY_OPEN_READS" doc:"Whether requests that name a loopback host and passed no proxy may read pages and API without signing in: yes, no, or auto, which means that the server listens on loopback and its external URL is there, too."`

	Images           map[string]string  `yaml:"images" doc:"Aliases of images, such as aws/codebuild/standard:7.0, and what they stand for."`
	ComputeTypes     map[string]Compute `yaml:"compute_types" doc:"Limits of containers by the names that projects use."`
	Buckets          map[string]string  `yaml:"buckets" doc:"Addresses of the buckets that pipeline files take objects from, as in blob_url. Default of BUCKET: s3://BUCKET."`
	Projects         []Project          `yaml:"projects" doc:"Settings of repositories' projects."`
	Environments     []Environment      `yaml:"environments" doc:"What pipeline files' stages deploy to, and who may approve it. A pipeline file has no say in this."`
	DeploymentGroups []DeploymentGroup  `yaml:"deployment_groups" doc:"What is deployed where."`
}

// Redis says where the state is.
type Redis struct {
	URL        string `yaml:"url" env:"SLIPWAY_REDIS_URL" secret:"yes" doc:"redis://, rediss:// or unix:// address. Default: embedded."`
	Durability string `yaml:"durability" env:"SLIPWAY_REDIS_DURABILITY" doc:"strict asks that webhooks are on disk before they are acknowledged; relaxed does without."`
}

// Runner is a runner's part.
type Runner struct {
	Slots  int    `yaml:"slots" env:"SLIPWAY_RUNNER_SLOTS" doc:"Builds at a time. Default: the number of cores."`
	Labels string `yaml:"labels" env:"SLIPWAY_RUNNER_LABELS" doc:"Labels of the jobs that it takes, comma-separated."`
	Name   string `yaml:"name" env:"SLIPWAY_RUNNER_NAME" doc:"Its name for people. Default: the host's."`
	// Spare makes builds that follow each other begin at once.
	Spare time.Duration `yaml:"spare" env:"SLIPWAY_RUNNER_SPARE" doc:"For how long after a build a fresh container of its image, already started, waits for the next one; 0: never."`
	// PrivilegedCapabilities is for hosts on which nobody may have every right.
	PrivilegedCapabilities string `yaml:"privileged_capabilities" env:"SLIPWAY_RUNNER_PRIVILEGED_CAPABILITIES" doc:"Capabilities, comma-separated, such as SYS_ADMIN, that privileged builds and Docker engines beside builds get in place of every right."`
}

// Agent is an agent's part.
type Agent struct {
	Name string `yaml:"name" env:"SLIPWAY_AGENT_NAME" doc:"The agent's name, which no other one has. Default: the host's."`
	Tags string `yaml:"tags" env:"SLIPWAY_AGENT_TAGS" doc:"Tags that it registers with, as KEY=VALUE, comma-separated; deployment groups choose by them."`
	Root string `yaml:"root" env:"SLIPWAY_AGENT_ROOT" doc:"Goes before every destination on the agent's host. Default: /."`
	// MaxRevisions is for agents, the server's own one, and slipway deploy.
	MaxRevisions int `yaml:"max_revisions" env:"SLIPWAY_AGENT_MAX_REVISIONS" doc:"How many revisions of a deployment group stay on a host, the present one included. What is installed, and what succeeded last, always does."`
}

// GitHub is the forge entry "github".
type GitHub struct {
	AppID             int64  `yaml:"app_id" env:"SLIPWAY_GITHUB_APP_ID" doc:"The GitHub App's ID."`
	PrivateKeyFile    string `yaml:"private_key_file" env:"SLIPWAY_GITHUB_PRIVATE_KEY_FILE" doc:"The App's private key, PEM."`
	WebhookSecret     string `yaml:"webhook_secret" env:"SLIPWAY_GITHUB_WEBHOOK_SECRET" secret:"yes" doc:"Secret of the webhook; two, comma-separated, during a rotation."`
	WebhookSecretFile string `yaml:"webhook_secret_file" env:"SLIPWAY_GITHUB_WEBHOOK_SECRET_FILE" doc:"File that holds the webhook's secret, in its place."`
	APIURL            string `yaml:"api_url" env:"SLIPWAY_GITHUB_API_URL" doc:"Base of the REST API; for GitHub Enterprise Server https://HOST/api/v3/."`
	CloneURL          string `yaml:"clone_url" env:"SLIPWAY_GITHUB_CLONE_URL" doc:"Replaces scheme and host of the payload's clone_url."`
	Token             string `yaml:"token" env:"SLIPWAY_GITHUB_TOKEN" secret:"yes" doc:"A personal token, where there is no App."`
}

// Secrets are the webhook secrets in force.
func (g GitHub) Secrets() []string { return splitList(g.WebhookSecret) }

// Bitbucket is the forge entry "bitbucket", Bitbucket Cloud.
type Bitbucket struct {
	WebhookSecret string `yaml:"webhook_secret" env:"SLIPWAY_BITBUCKET_WEBHOOK_SECRET" secret:"yes" doc:"Secret of Bitbucket Cloud's webhook; two, comma-separated, during a rotation."`
	Token         string `yaml:"token" env:"SLIPWAY_BITBUCKET_TOKEN" secret:"yes" doc:"Access token of a repository, project or workspace, or EMAIL:TOKEN for a user's API token."`
	APIURL        string `yaml:"api_url" env:"SLIPWAY_BITBUCKET_API_URL" doc:"Base of Bitbucket Cloud's REST API."`
	CloneURL      string `yaml:"clone_url" env:"SLIPWAY_BITBUCKET_CLONE_URL" doc:"Where git finds the repositories. Default: api_url's host without api."`
}

// Secrets are the webhook secrets in force.
func (b Bitbucket) Secrets() []string { return splitList(b.WebhookSecret) }

// BitbucketServer is the forge entry "bitbucket-server", Bitbucket Data Center.
type BitbucketServer struct {
	WebhookSecret string `yaml:"webhook_secret" env:"SLIPWAY_BITBUCKET_SERVER_WEBHOOK_SECRET" secret:"yes" doc:"Secret of Bitbucket Data Center's webhook; two, comma-separated, during a rotation."`
	Token         string `yaml:"token" env:"SLIPWAY_BITBUCKET_SERVER_TOKEN" secret:"yes" doc:"HTTP access token of a project or repository."`
	URL           string `yaml:"url" env:"SLIPWAY_BITBUCKET_SERVER_URL" doc:"Address of Bitbucket Data Center, as people type it."`
}

// Secrets are the webhook secrets in force.
func (b BitbucketServer) Secrets() []string { return splitList(b.WebhookSecret) }

// SecretStores say where the values are that buildspecs name under
// env.parameter-store and env.secrets-manager.
type SecretStores struct {
	File         string `yaml:"file" env:"SLIPWAY_SECRETS_FILE" doc:"File of values, encrypted with age: a JSON object, or lines NAME=VALUE."`
	IdentityFile string `yaml:"identity_file" env:"SLIPWAY_SECRETS_IDENTITY_FILE" doc:"File with the age identity that opens secrets.file."`
	EnvPrefix    string `yaml:"env_prefix" env:"SLIPWAY_SECRETS_ENV_PREFIX" doc:"Variables of the server that begin with this hold values, too: /app/db-password is PREFIX_APP_DB_PASSWORD, with the prefix ending in _."`
	AWSRegion    string `yaml:"aws_region" env:"SLIPWAY_SECRETS_AWS_REGION" doc:"AWS region whose Parameter Store and Secrets Manager are asked last, with the server's own AWS credentials. Default: none is."`
	AWSEndpoint  string `yaml:"aws_endpoint" env:"SLIPWAY_SECRETS_AWS_ENDPOINT" doc:"Address that stands in for both of AWS's services."`
}

// Prometheus answers the alarm and prometheus checks of pipelines.
type Prometheus struct {
	URL string `yaml:"url" env:"SLIPWAY_PROMETHEUS_URL" secret:"yes" doc:"Where the Prometheus is that alarm and prometheus checks of pipeline files ask, such as http://prometheus:9090; it may hold a user and a password."`
}

// Limits bound what is done and kept.
type Limits struct {
	InfrastructureRetries int           `yaml:"infrastructure_retries" env:"SLIPWAY_LIMITS_INFRASTRUCTURE_RETRIES" doc:"Attempts that may be lost to the infrastructure before an action fails."`
	Executions            int           `yaml:"executions" env:"SLIPWAY_LIMITS_EXECUTIONS" doc:"How many executions of a pipeline with mode queued or parallel may be under way; one more fails."`
	Lease                 time.Duration `yaml:"lease" env:"SLIPWAY_LIMITS_LEASE" doc:"How long a silent worker keeps its job."`
	AgentLease            time.Duration `yaml:"agent_lease" env:"SLIPWAY_LIMITS_AGENT_LEASE" doc:"How long an agent may be silent during a deployment, or take to begin one, before its instance has failed."`
	BuildTimeout          time.Duration `yaml:"build_timeout" env:"SLIPWAY_LIMITS_BUILD_TIMEOUT" doc:"Time limit of a build whose project sets none."`
	QueuedTimeout         time.Duration `yaml:"queued_timeout" env:"SLIPWAY_LIMITS_QUEUED_TIMEOUT" doc:"How long a job may wait for a worker."`
	Drain                 time.Duration `yaml:"drain" env:"SLIPWAY_LIMITS_DRAIN" doc:"How long running builds get to finish when their runner is told to end."`
	Debug                 time.Duration `yaml:"debug" env:"SLIPWAY_LIMITS_DEBUG" doc:"How long a shell of slipway debug may stay open; 0: nobody gets one."`
	ReportSpacing         time.Duration `yaml:"report_spacing" env:"SLIPWAY_LIMITS_REPORT_SPACING" doc:"Least time between two writes to a forge's installation. Default: 1s at api.github.com, else 50ms."`
}

// Compute is one compute type.
type Compute struct {
	CPUs      float64 `yaml:"cpus"`
	MemoryMB  int64   `yaml:"memory_mb"`
	Processes int64   `yaml:"processes"`
}

// Project is the settings of a repository's project.
type Project struct {
	Repository string        `yaml:"repository"` // FORGE/OWNER/NAME
	Name       string        `yaml:"name"`       // default: default
	Buildspec  string        `yaml:"buildspec"`
	Image      string        `yaml:"image"`
	Compute    string        `yaml:"compute"`
	Labels     string        `yaml:"labels"`
	Timeout    time.Duration `yaml:"timeout"`
	// QueuedTimeout is how long its builds may wait for a runner; 0 means
	// limits.queued_timeout.
	QueuedTimeout time.Duration `yaml:"queued_timeout"`
	Concurrency   int           `yaml:"concurrency"`
	Privileged    bool          `yaml:"privileged"`
	// StrictShell fails a command at its first line that fails.
	StrictShell bool              `yaml:"strict_shell"`
	Variables   map[string]string `yaml:"variables"`
	// Services run beside its builds; Docker is an engine for them.
	Services []Service    `yaml:"services"`
	Docker   DockerEngine `yaml:"docker"`
	// Secrets are globs of the parameters and secrets that its buildspecs may
	// name; none means none.
	Secrets []string `yaml:"secrets"`
	// Sources are patterns of what its pipeline files may take in beside the
	// repository: FORGE/OWNER/NAME, s3://BUCKET/KEY, or a clone URL; none means
	// none.
	Sources []string `yaml:"sources"`
	// BuildType is auto, build or batch; empty means auto.
	BuildType string `yaml:"build_type"`
	Batch     Batch  `yaml:"batch"`
	// AutoRetry is how often a failed build is repeated, at most 100, where the
	// repository has no pipeline file.
	AutoRetry int `yaml:"auto_retry"`
	// StatusContext names the check and the commit status of its builds, where
	// the repository has no pipeline file (CodeBuild reference 8.3).
	StatusContext string `yaml:"status_context"`
	// FilterGroups say which webhooks start builds where the repository has no
	// pipeline file: those that all filters of any group let pass.
	FilterGroups [][]Filter `yaml:"filter_groups"`
}

// Environment is the protection of what a stage deploys to.
type Environment struct {
	Name       string   `yaml:"name"`
	Repository string   `yaml:"repository"` // FORGE/OWNER/NAME; default: every repository
	Approvers  []string `yaml:"approvers"`  // logins, id:ID, ORG/TEAM or team/TEAM; default: whoever may write
	// PreventSelfReview keeps those who started an execution from approving it.
	PreventSelfReview bool `yaml:"prevent_self_review"`
	// URL is where its users find it, and Production says that they are the
	// product's; both are shown at the forge.
	URL        string `yaml:"url"`
	Production bool   `yaml:"production"`
}

// Default is the configuration before any file, variable or flag. dataHome is
// the user's data folder.
func Default(dataHome string) Config {
	return Config{
		Listen: "127.0.0.1:8080", Data: filepath.Join(dataHome, "slipway"), Log: "info", Engine: "docker", OpenReads: "auto",
		Redis:         Redis{Durability: "strict"},
		Runner:        Runner{Slots: runtime.NumCPU(), Spare: 5 * time.Minute},
		Agent:         Agent{MaxRevisions: 5},
		GitHub:        GitHub{APIURL: "https://api.github.com/"},
		Bitbucket:     Bitbucket{APIURL: "https://api.bitbucket.org/2.0"},
		Notifications: Notifications{Comments: "failures", Statuses: "auto", Deployments: "on"},
		Limits: Limits{
			InfrastructureRetries: 2, Executions: 50, Lease: 15 * time.Second, AgentLease: time.Minute, BuildTimeout: time.Hour,
			QueuedTimeout: 8 * time.Hour, Drain: 10 * time.Minute, Debug: time.Hour,
		},
		Retention: Retention{Deliveries: 30 * day, DeliveryCount: 100_000, Executions: 400 * day, Logs: 90 * day, Artifacts: 90 * day, Reports: 30 * day},
	}
}

// isWebURL reports whether raw is empty or a URL that a browser could open.
func isWebURL(raw string) bool {
	u, err := url.Parse(raw)
	return raw == "" || err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// Labels are a list of labels as they are compared: sorted, each once, without
// blanks around them.
func Labels(list string) []string {
	all := splitList(list)
	slices.Sort(all)
	return slices.Compact(all)
}

// Check reports everything that is wrong, each with the key's name.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, a := range []struct{ key, value string }{{"listen", c.Listen}, {"webhook_listen", c.WebhookListen}} {
		if _, _, err := net.SplitHostPort(a.value); err != nil && (a.value != "" || a.key == "listen") {
			bad("%s: want host:port, have %q", a.key, a.value)
		}
	}
	for _, u := range []struct{ key, value string }{
		{"external_url", c.ExternalURL}, {"server", c.Server}, {"github.api_url", c.GitHub.APIURL}, {"github.clone_url", c.GitHub.CloneURL},
		{"bitbucket.api_url", c.Bitbucket.APIURL}, {"bitbucket.clone_url", c.Bitbucket.CloneURL}, {"bitbucket_server.url", c.BitbucketServer.URL},
		{"secrets.aws_endpoint", c.Secrets.AWSEndpoint},
	} {
		if !isWebURL(u.value) {
			bad("%s: want an http or https URL, have %q", u.key, u.value)
		}
	}
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			bad("%s: want one of %s, have %q", key, strings.Join(allowed, ", "), value)
		}
	}
	oneOf("log", c.Log, "debug", "info", "warn", "error")
	oneOf("engine", c.Engine, "docker", "host", "auto")
	oneOf("open_reads", c.OpenReads, "auto", "yes", "no")
	oneOf("redis.durability", c.Redis.Durability, "strict", "relaxed")
	if c.Runner.Slots < 1 {
		bad("runner.slots: want at least 1, have %d", c.Runner.Slots)
	}
	if c.Runner.Spare < 0 {
		bad("runner.spare: want no less than 0, have %s", c.Runner.Spare)
	}
	errs = append(errs, c.Limits.check())
	errs = append(errs, c.checkStorage(), c.Retention.check())
	if (c.GitHub.AppID != 0) != (c.GitHub.PrivateKeyFile != "") {
		bad("github: app_id and private_key_file go together")
	}
	if s := c.BitbucketServer; s.URL == "" && s.WebhookSecret+s.Token != "" {
		bad("bitbucket_server.url: needed with its webhook_secret and token")
	}
	if _, err := Pairs(c.Agent.Tags); err != nil {
		bad("agent.tags: %w", err)
	}
	if c.Agent.MaxRevisions < 1 {
		bad("agent.max_revisions: want at least 1, have %d", c.Agent.MaxRevisions)
	}
	if (c.Secrets.File != "") != (c.Secrets.IdentityFile != "") {
		bad("secrets: file and identity_file go together")
	}
	if c.Secrets.AWSEndpoint != "" && c.Secrets.AWSRegion == "" {
		bad("secrets.aws_endpoint: needs aws_region")
	}
	errs = append(errs, c.Notifications.check(), c.checkNetwork(), c.checkSignIn(), c.Runner.check(), c.checkProjects(), c.checkBuckets(), c.checkEnvironments(), c.checkGroups())
	return errors.Join(errs...)
}

// maxExecutions bounds limits.executions: all of a pipeline are in one record.
const maxExecutions = 500

func (l Limits) check() error {
	var errs []error
	for _, d := range []struct {
		key         string
		value, want time.Duration
	}{
		{"lease", l.Lease, time.Second}, {"agent_lease", l.AgentLease, time.Second}, {"build_timeout", l.BuildTimeout, time.Second}, {"queued_timeout", l.QueuedTimeout, time.Second},
		{"drain", l.Drain, 0}, {"debug", l.Debug, 0}, {"report_spacing", l.ReportSpacing, 0},
	} {
		if d.value < d.want {
			errs = append(errs, fmt.Errorf("limits.%s: want at least %s, have %s", d.key, d.want, d.value))
		}
	}
	if l.InfrastructureRetries < 0 {
		errs = append(errs, fmt.Errorf("limits.infrastructure_retries: want 0 or more, have %d", l.InfrastructureRetries))
	}
	if l.Executions < 1 || l.Executions > maxExecutions {
		errs = append(errs, fmt.Errorf("limits.executions: want 1 to %d, have %d", maxExecutions, l.Executions))
	}
	return errors.Join(errs...)
}

// checkStatusContext keeps two projects of a repository from overwriting each
// other's status.
func (c *Config) checkStatusContext(i int) error {
	p := c.Projects[i]
	if p.StatusContext == "" {
		return nil
	}
	if n := utf8.RuneCountInString(p.StatusContext); n > 100 || strings.ContainsFunc(p.StatusContext, unicode.IsControl) || strings.TrimSpace(p.StatusContext) != p.StatusContext {
		return fmt.Errorf("projects[%d].status_context: want a line of at most 100 characters, have %.120q", i, p.StatusContext)
	}
	for j, other := range c.Projects[:i] {
		if strings.EqualFold(other.Repository, p.Repository) && other.StatusContext == p.StatusContext {
			return fmt.Errorf("projects[%d].status_context: %q is that of projects[%d] of the same repository, too", i, p.StatusContext, j)
		}
	}
	return nil
}

func (c *Config) checkProjects() error {
	var errs []error
	for i, p := range c.Projects {
		if strings.Count(p.Repository, "/") != 2 {
			errs = append(errs, fmt.Errorf("projects[%d].repository: want FORGE/OWNER/NAME, have %q", i, p.Repository))
		}
		if _, ok := c.ComputeTypes[p.Compute]; p.Compute != "" && !ok {
			errs = append(errs, fmt.Errorf("projects[%d].compute: %q is not in compute_types", i, p.Compute))
		}
		for key, limit := range map[string]time.Duration{"timeout": p.Timeout, "queued_timeout": p.QueuedTimeout} {
			if limit < 0 {
				errs = append(errs, fmt.Errorf("projects[%d].%s: want a time, have %s", i, key, limit))
			}
		}
		if p.Concurrency < 0 {
			errs = append(errs, fmt.Errorf("projects[%d].concurrency: want 0, for no limit, or more, have %d", i, p.Concurrency))
		}
		errs = append(errs, c.checkStatusContext(i))
		for _, pattern := range p.Sources {
			if _, err := pipeline.Matches(pattern, ""); err != nil || !isSource(pattern) {
				errs = append(errs, fmt.Errorf("projects[%d].sources: want FORGE/OWNER/NAME, s3://BUCKET/KEY or https://HOST/PATH, have %q", i, pattern))
			}
		}
		errs = append(errs, c.checkBeside(fmt.Sprintf("projects[%d]", i), p))
		if err := p.checkBatch(c.ComputeTypes); err != nil {
			errs = append(errs, fmt.Errorf("projects[%d].%w", i, err))
		}
		if p.AutoRetry < 0 || p.AutoRetry > 100 {
			errs = append(errs, fmt.Errorf("projects[%d].auto_retry: want 0 to 100, have %d", i, p.AutoRetry))
		}
		for _, err := range p.Groups().Check() {
			errs = append(errs, fmt.Errorf("projects[%d].filter_groups%w", i, err))
		}
		for _, name := range slices.Sorted(maps.Keys(p.Variables)) {
			if strings.HasPrefix(name, "CODEBUILD_") {
				errs = append(errs, fmt.Errorf("projects[%d].variables: %s: names beginning with CODEBUILD_ are reserved", i, name))
			}
		}
	}
	return errors.Join(errs...)
}

// isSource reports whether a pattern can match the name of a source.
func isSource(pattern string) bool {
	return strings.HasPrefix(pattern, "s3://") || strings.HasPrefix(pattern, "https://") || strings.Count(pattern, "/") == 2
}

// Takes reports whether a repository, FORGE/OWNER/NAME, may take in a source of
// that name, as one of its projects says.
func (c *Config) Takes(repository, source string) bool {
	return slices.ContainsFunc(c.Projects, func(p Project) bool {
		return strings.EqualFold(p.Repository, repository) && slices.ContainsFunc(p.Sources, func(pattern string) bool {
			ok, err := pipeline.Matches(pattern, source)
			return ok && err == nil
		})
	})
}

func (c *Config) checkBuckets() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Buckets)) {
		if u, err := url.Parse(c.Buckets[name]); err != nil || u.Scheme != "s3" && u.Scheme != "file" {
			errs = append(errs, fmt.Errorf("buckets.%s: want s3://BUCKET or file:///FOLDER", name)) // the address may hold a secret
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkEnvironments() error {
	var errs []error
	for i, e := range c.Environments {
		if e.Name == "" {
			errs = append(errs, fmt.Errorf("environments[%d].name: want a name", i))
		}
		if !isWebURL(e.URL) {
			errs = append(errs, fmt.Errorf("environments[%d].url: want an http or https URL, have %q", i, e.URL))
		}
		if e.Repository != "" && strings.Count(e.Repository, "/") != 2 {
			errs = append(errs, fmt.Errorf("environments[%d].repository: want FORGE/OWNER/NAME, have %q", i, e.Repository))
		}
		for _, a := range e.Approvers {
			if a == "" || strings.Count(a, "/") > 1 {
				errs = append(errs, fmt.Errorf("environments[%d].approvers: want a login, id:ID, ORG/TEAM or team/TEAM, have %q", i, a))
			}
		}
	}
	return errors.Join(errs...)
}

// Environment is the environment of that name for a repository, FORGE/OWNER/NAME:
// its own before one for all; nil if there is none.
func (c *Config) Environment(repository, name string) *Environment {
	var found *Environment
	for i, e := range c.Environments {
		if e.Name == name && (e.Repository == repository || e.Repository == "" && found == nil) {
			found = &c.Environments[i]
		}
	}
	return found
}

// Pairs reads KEY=VALUE, comma-separated.
func Pairs(list string) (map[string]string, error) {
	out := map[string]string{}
	for _, part := range splitList(list) {
		key, value, ok := strings.Cut(part, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("want KEY=VALUE, comma-separated, have %q", part)
		}
		out[key] = value
	}
	return out, nil
}

// Find is the file to read where none was named: ./slipway.yaml, then
// /etc/slipway/slipway.yaml; "" if there is neither.
func Find() string {
	for _, p := range []string{"slipway.yaml", "/etc/slipway/slipway.yaml"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

func splitList(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
