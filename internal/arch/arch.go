// Package arch holds the architecture as data: which package may import which
// of ours, and which may use an outside library or the environment. Its tests
// compare the tree with it. A new package starts by adding its row here.
package arch

// mayImport has a row for every package: what its code, apart from its tests,
// may import of ours. "*" is everything but test helpers.
var mayImport = map[string][]string{
	"forge":           {},
	"access":          {"forge"},
	"forge/github":    {"forge"},
	"forge/bitbucket": {"forge"},
	"forge/local":     {"forge"},

	"pipeline": {"forge", "internal/specfile", "internal/cron"},
	"dispatch": {"pipeline", "forge", "deployer/fleet"},
	"chat":     {"pipeline", "forge", "access"},
	"queue":    {"pipeline"},
	"notify":   {"pipeline", "forge"},
	// Where chat, webhooks and topics are reached.
	"notify/sender": {"notify", "forge", "internal/outward"},

	// The growing end of a log lives in Redis, behind an interface of store/logs.
	"store":           {"pipeline", "access", "store/logs", "store/artifacts"},
	"store/blobs":     {},
	"store/logs":      {"store/blobs"},
	"store/artifacts": {"store/blobs"},
	"store/caches":    {"pipeline", "store/blobs"},
	"store/secrets":   {},

	// A job and its outcome are made of forge's words, such as Annotation.
	"runner":           {"pipeline", "forge", "runner/buildspec", "runner/source", "runner/report", "runner/cache", "internal/redact", "internal/archive", "internal/client", "internal/specfile"},
	"runner/buildspec": {"internal/specfile"},
	"runner/source":    {"pipeline", "internal/redact", "internal/archive"},
	"runner/report":    {"pipeline", "runner/buildspec", "internal/archive"},
	"runner/cache":     {"pipeline", "runner/buildspec", "internal/archive"},
	"runner/docker":    {"pipeline", "runner", "internal/redact", "internal/archive"},
	"runner/host":      {"pipeline", "runner", "internal/redact", "internal/archive"},

	"deployer":         {"pipeline", "deployer/appspec", "internal/redact", "internal/archive", "internal/client"},
	"deployer/appspec": {"internal/specfile"},
	"deployer/agent":   {"pipeline", "forge", "deployer", "internal/archive", "internal/client", "internal/worker"},
	"deployer/fleet":   {"pipeline", "forge"},

	"handlers":    {"pipeline", "forge", "access", "handlers/ui"},
	"handlers/ui": {"pipeline", "access"},

	"internal/arch":    {},
	"internal/archive": {},
	"internal/client":  {"pipeline", "forge", "access"},
	// Times, as pipeline files and deployment windows write them.
	"internal/cron":   {},
	"internal/config": {"internal/specfile", "internal/outward", "pipeline", "deployer/fleet", "notify", "notify/sender"},
	// Declarations of another system become pipeline files.
	"internal/codepipeline": {"pipeline", "internal/specfile"},
	// Where users' addresses may lead connections.
	"internal/outward":  {},
	"internal/redact":   {},
	"internal/request":  {"internal/outward"},
	"internal/specfile": {},
	"internal/worker":   {"pipeline"},

	"cmd/slipway": {"*"},

	// Programs for developers. They drive slipway from outside.
	"bench/floor/webhook":  {},
	"bench/run":            {},
	"scripts/gotest":       {},
	"scripts/gotest/probe": {},

	// Tests of the program as its users run it.
	"examples": {},
	"test/e2e": {},

	// Test helpers. They stand in for another package, so they may import it.
	"forge/forgetest":       {"forge"},
	"queue/queuetest":       {"queue", "pipeline", "forge", "internal/testenv"},
	"handlers/handlerstest": {"handlers", "pipeline", "forge", "access", "internal/testenv"},
	"runner/runnertest":     {"runner", "runner/source", "pipeline", "forge", "internal/archive", "internal/testenv"},
	"internal/testenv":      {},
}

// testsMayAlso is what a package's own tests may import beside its row: the
// real parts that it is tried with.
var testsMayAlso = map[string][]string{
	"pipeline": {"queue", "store"},
	"store":    {"forge", "store/blobs"},
	"dispatch": {"store"},
}

// testHelpers may be imported by every test, by other helpers as their row
// says, and by nothing else.
var testHelpers = []string{"forge/forgetest", "handlers/handlerstest", "queue/queuetest", "runner/runnertest", "internal/testenv"}

// library is one outside library, under all its import paths, and the packages
// that own it. Everyone else goes through them. bench/floor is what the bare
// libraries take, to measure us against.
type library struct {
	name   string
	paths  []string // an import path or the beginning of one
	owners []string // a package, or with "/..." all below it too
}

var libraries = []library{
	{"gin", []string{"github.com/gin-gonic/", "github.com/gin-contrib/"}, []string{"handlers/...", "bench/floor/..."}},
	{"go-redis", []string{"github.com/redis/go-redis/"}, []string{"queue/...", "store", "bench/floor/..."}},
	{"gocloud and the AWS SDK", []string{"gocloud.dev/", "filippo.io/age"}, []string{"store/blobs", "store/secrets"}},
	{"the Docker client", []string{"github.com/docker/", "github.com/moby/", "github.com/containerd/"}, []string{"runner/docker"}},
	{"the registry", []string{"github.com/google/go-containerregistry/"}, []string{"runner/docker"}},
	{"go-github", []string{"github.com/google/go-github/", "github.com/bradleyfalzon/ghinstallation/"}, []string{"forge/github"}},
	{"YAML", []string{"go.yaml.in/yaml/", "github.com/goccy/go-yaml", "gopkg.in/yaml", "sigs.k8s.io/yaml"},
		[]string{"internal/specfile", "internal/config", "internal/codepipeline", "pipeline", "runner/buildspec", "deployer/appspec"}},
}

// environmentReaders may read environment variables. Tests may, too.
var environmentReaders = []string{"cmd/slipway", "internal/testenv"}
