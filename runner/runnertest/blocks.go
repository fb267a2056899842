package runnertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

func failing(onFailure string) string {
	return spec("  build:\n    on-failure: " + onFailure + "\n    commands: [echo once, exit 3]\n  post_build:\n    commands: [echo post]\n")
}

func retried(n int) func(*pipeline.BuildOrder) {
	return func(o *pipeline.BuildOrder) { o.Retried = n }
}

const buildAborted = begun + "INSTALL S, PRE_BUILD S, BUILD F, FINALIZING S, COMPLETED"

// blocks are the cases of on-failure: RETRY and of blocks beside phases.
var blocks = []conformance{
	{
		name: "C41 RETRY asks for the build to be repeated", spec: failing("RETRY"),
		phases: buildAborted, status: pipeline.BuildFailed, retry: true, log: []string{"The build is to be retried: retry 1 of 3"}, absent: []string{"\npost\n"},
	},
	{
		name: "C41 the last attempt goes on as if on-failure were unset", spec: failing("RETRY-2"), change: retried(2),
		phases: begun + "INSTALL S, PRE_BUILD S, BUILD F, POST_BUILD S, " + tail, status: pipeline.BuildFailed, output: "once\npost\n",
	},
	{
		name: "C41 a pattern that matches", spec: failing("Retry-.*exit status [0-9].*"), change: retried(2),
		phases: buildAborted, status: pipeline.BuildFailed, retry: true, log: []string{"retry 3 of 3"},
	},
	{
		name: "C41 a pattern that doesn't", spec: failing("RETRY-4-.*Unable.*"),
		status: pipeline.BuildFailed, output: "once\npost\n", absent: []string{"to be retried"},
	},
	{
		name: "C41 RETRY-0", spec: failing("RETRY-0"), status: pipeline.BuildFailed, output: "once\npost\n",
	},
	{
		name:   "C41 the message of the phase itself counts",
		spec:   spec("  pre_build:\n    on-failure: CONTINUE\n    commands: [exit 7]\n  build:\n    on-failure: RETRY-status 3\n    commands: [exit 3]\n"),
		status: pipeline.BuildFailed, retry: true,
	},
	{
		// The digests are those that keys of caches have; see package cache.
		name: "C35 codebuild-hash-files is a command, too", files: map[string]string{"a/x.txt": "1", "a/b/y.txt": "22", "b.txt": "333", "sp ace.md": "4", "a/c.go": "5"},
		spec:   spec("  build:\n    commands: ['cd a', 'codebuild-hash-files \"**/*.txt\"', 'codebuild-hash-files \"*.{txt,md}\" ./a/*.go', 'codebuild-hash-files none || echo none']\n"),
		status: pipeline.BuildSucceeded, output: "617977f1f1fa0ea4f0988389f81501e3ace180ea0e5f3b6fc181eaf33485e065\n486e74f40df168748b51e6066ec913e268d1c8dfcaefcead9edeb6fce13a394f\n" +
			"codebuild-hash-files: no file matches none\nnone\n",
	},
	{
		name: "codebuild-tests-run runs the share of a build", files: map[string]string{
			"t/a_test.x": "", "t/b 1_test.x": "", "t/u/c_test.x": "", "t/d.x": "", "e_test.x": "", "all.sh": shares,
		},
		spec: spec("  build:\n    commands: [sh all.sh]\n"), status: pipeline.BuildSucceeded,
		output: "<t/a_test.x>\n<t/b 1_test.x>\n<t/u/c_test.x>\n" +
			"<t/a_test.x>\n<t/b 1_test.x>\n<t/u/c_test.x>\n" +
			"[e_test.x\nt/b 1_test.x]\n" +
			"codebuild-tests-run: share 2 of 2 has none of the 1 file(s), so nothing runs\n" +
			"3\ncodebuild-tests-run: the search for files failed: false\n1\n",
	},
	{
		name: "automatic retry of the project", spec: failing("CONTINUE"), change: func(o *pipeline.BuildOrder) { o.AutoRetry, o.Retried = 2, 1 },
		status: pipeline.BuildFailed, retry: true, output: "once\npost\n", log: []string{"automatic retry 2 of 2"},
	},
	{
		name: "automatic retries come to an end", spec: failing("CONTINUE"), change: func(o *pipeline.BuildOrder) { o.AutoRetry, o.Retried = 2, 2 },
		status: pipeline.BuildFailed, absent: []string{"to be retried"},
	},
	{
		name: "no automatic retry of a mistake", spec: "version: 9\n", change: func(o *pipeline.BuildOrder) { o.AutoRetry = 2 },
		status: pipeline.BuildFailed, code: "YAML_FILE_ERROR", absent: []string{"to be retried"},
	},
	{
		name:   "C13 finally runs before the build is retried",
		spec:   spec("  build:\n    on-failure: RETRY\n    commands: [exit 3]\n    finally: [echo f]\n"),
		status: pipeline.BuildFailed, retry: true, output: "f\n",
	},
	{
		name:   "C14 a failing finally command is the last of its phase",
		spec:   spec("  build:\n    commands: [\"true\"]\n    finally: [echo f, exit 5, echo no]\n  post_build:\n    commands: [echo $CODEBUILD_BUILD_SUCCEEDING]\n"),
		status: pipeline.BuildFailed, output: "f\n0\n", message: "Error while executing command: exit 5. Reason: exit status 5",
	},
	{
		name:   "C14 the command's failure is the phase's, also if finally fails",
		spec:   spec("  build:\n    commands: [exit 4]\n    finally: [exit 5]\n"),
		status: pipeline.BuildFailed, message: "exit 4. Reason: exit status 4",
	},
	{
		name:   "a phase that is retried by itself goes on in its state",
		spec:   spec("  build:\n    on-failure: RETRY-5\n    retry-scope: phase\n    commands: ['N=x$N', 'test $N = xxx', echo at $N]\n"),
		phases: allGreen, status: pipeline.BuildSucceeded, output: "at xxx\n", log: []string{"Phase BUILD is retried: retry 2 of 5"},
	},
	{
		name:   "C34 the name of an artifact is the shell's to say",
		spec:   spec("  build:\n    commands: [V=7]\n") + "artifacts:\n  files: [buildspec.yml]\n  name: builds/n-$(echo $V)\n",
		status: pipeline.BuildSucceeded, labels: []string{"builds/n-7"},
	},
	{
		name:   "C34 a name that climbs",
		spec:   spec("  build:\n    commands: [V=..]\n") + "artifacts:\n  files: [buildspec.yml]\n  name: $V/x\n",
		status: pipeline.BuildFailed, code: "CLIENT_ERROR", message: "want no ..",
	},
	{
		name: "secondary artifacts have their own rules", files: map[string]string{"a/x.txt": "1", "a/y.log": "2", "b/z.txt": "3"},
		spec: spec("  build:\n    commands: [\"true\"]\n") + "artifacts:\n  files: ['**/*.txt']\n  name: one\n  secondary-artifacts:\n" +
			"    logs:\n      files: ['**/*']\n      base-directory: a\n      exclude-paths: ['**/*.txt']\n      name: two\n    flat:\n      files: ['**/*.txt']\n      discard-paths: yes\n",
		status: pipeline.BuildSucceeded, files2: []string{"a/x.txt", "b/z.txt"}, labels: []string{"one", "two", ""},
		secondary: map[string][]string{"logs": {"y.log"}, "flat": {"x.txt", "z.txt"}},
	},
	{
		name: "C33 an action with several outputs needs no primary artifact", files: map[string]string{"a/x.txt": "1", "b/y.txt": "2"},
		spec:   spec("  build:\n    commands: [\"true\"]\n") + "artifacts:\n  secondary-artifacts:\n    one:\n      files: ['**/*']\n      base-directory: a\n    two:\n      files: b/y.txt\n",
		change: func(o *pipeline.BuildOrder) { o.SecondaryOnly = true },
		phases: allGreen, status: pipeline.BuildSucceeded, secondary: map[string][]string{"one": {"x.txt"}, "two": {"b/y.txt"}},
	},
	{
		name:   "no block is passed over in silence",
		spec:   spec("  build:\n    commands: [\"true\"]\n") + "proxy: {logs: yes}\nenv: {git-credential-helper: yes}\nbatch:\n  build-list: [{identifier: a, env: {fleet: f}}]\n",
		status: pipeline.BuildSucceeded, log: []string{
			"Warning: buildspec.yml:5:1: warning: proxy has no effect", "env.git-credential-helper has no effect", "batch.build-list[0].env.fleet has no effect",
		},
	},
	{
		name: "C25 a secret that the server has not",
		spec: "version: 0.2\nenv:\n  secrets-manager: {K: \"id:user\"}\nphases:\n  build:\n    commands: [echo no]\n",
		change: func(o *pipeline.BuildOrder) {
			o.Stored = []pipeline.StoredValue{{Ref: "id:user", Refused: "Secret id does not exist"}}
		},
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "Decrypted Variables Error", message: "K: Secret id does not exist", absent: []string{"Running command"},
	},
	{
		name: "C26 parameters and secrets", spec: "version: 0.2\nenv:\n  parameter-store: {P: /app/p}\n  secrets-manager: {K: \"id:user\"}\n  exported-variables: [K, P, E]\nphases:\n  build:\n" +
			"    commands: ['echo $P $K', 'E=\"<$K>\"', 'printf top-; printf \"user\\n\"', 'echo dG9wLXVzZXI=']\n",
		change: func(o *pipeline.BuildOrder) {
			o.Stored = []pipeline.StoredValue{{Parameter: true, Ref: "/app/p", Value: "para-meter"}, {Ref: "id:user", Value: "top-user"}}
		},
		status: pipeline.BuildSucceeded, output: "*** ***\n***\n***\n", exported: map[string]string{"E": "<***>"},
		absent: []string{"top-user", "para-meter", "dG9wLXVzZXI"}, log: []string{"K is not exported, its value comes from secrets-manager"},
	},
}

// testPhases runs some of the phases only.
func testPhases(t *testing.T, s Setup) {
	t.Parallel()
	order, options := s.order(t, map[string]string{"buildspec.yml": spec("  install:\n    commands: [echo i]\n  build:\n    commands: [echo b]\n  post_build:\n    commands: [echo p]\n")})
	options.Phases = []string{"build"}
	sink := &Sink{}
	b, _ := runner.Run(t.Context(), options, order, sink)
	if got, want := phases(b), begun+"BUILD S, "+tail; got != want || sink.Output() != "b\n" {
		t.Errorf("got %q, output %q, want %q\n%s", got, sink.Output(), want, sink.Text())
	}
}

// testManifest reads the manifest of a failed build.
func testManifest(t *testing.T, s Setup) {
	t.Parallel()
	b, o, sink := s.Build(t, map[string]string{"buildspec.yml": spec("  build:\n    commands: [echo hunter22, exit 3, echo no]\n    finally: [echo f]\n") + "artifacts:\n  files: [buildspec.yml]\n"},
		variables(pipeline.Variable{Name: "S", Value: "hunter22", Secret: true}))
	var m runner.Manifest
	if err := json.Unmarshal(sink.Bytes(runner.ManifestArtifact), &m); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range m.Phases {
		for _, c := range p.Commands {
			got = append(got, p.Type+" "+c.Script+" "+string(rune('0'+c.Exit)))
		}
	}
	if diff := cmp.Diff([]string{"BUILD echo *** 0", "BUILD exit 3 3", "BUILD echo f 0"}, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if m.Status != pipeline.BuildFailed || !slices.Contains(m.Variables, "S") || m.Buildspec == "" || len(m.Artifacts) != 1 || m.Artifacts[0].Digest == "" {
		t.Errorf("got %+v", m)
	}
	if strings.Contains(string(sink.Bytes(runner.ManifestArtifact)), "hunter22") {
		t.Error("the manifest holds a secret")
	}
	if len(o.Artifacts) != 1 || len(b.Artifacts) != 1 || b.Manifest == nil || b.Manifest.Name != runner.ManifestArtifact {
		t.Errorf("got artifacts %v of the outcome, %v and %v of the build", o.Artifacts, b.Artifacts, b.Manifest)
	}
}

// testCache runs builds one after the other over one cache.
func testCache(t *testing.T, s Setup) {
	t.Parallel()
	outside := filepath.Join(os.TempDir(), "slipway-cache-"+strings.ReplaceAll(filepath.Base(t.TempDir()), "/", "")+filepath.Base(filepath.Dir(t.TempDir())))
	kept := &Cache{}
	run := func(sum, paths, command string) string {
		t.Helper()
		order, options := s.order(t, map[string]string{"go.sum": sum, "deps/own": "mine", "buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        " +
			strings.ReplaceAll(command, "\n", "\n        ") + "\ncache:\n  key: k-$(codebuild-hash-files go.sum)\n  fallback-keys: [k-]\n  paths: [" + paths + "]\n"})
		options.Cache = kept
		sink := &Sink{}
		b, _ := runner.Run(t.Context(), options, order, sink)
		if b.Status != pipeline.BuildSucceeded {
			t.Fatalf("got %s\n%s", b.Status, sink.Text())
		}
		if err := os.RemoveAll(outside); err != nil { // the host engine's builds share it
			t.Fatal(err)
		}
		return sink.Text()
	}
	want := func(log string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(log, text) {
				t.Errorf("log lacks %q\n%s", text, log)
			}
		}
	}
	paths := "'deps/**/*', '" + outside + "/**/*'"
	fill := "mkdir -p deps/d " + outside + "/.h\necho one >deps/d/x\necho theirs >deps/own\nln -s x deps/d/l\nln -s /etc/passwd deps/d/leak\necho two >" + outside + "/.h/y\n"
	read := "cat deps/d/x deps/own deps/d/l\necho\ncat " + outside + "/.h/y\n"
	want(run("1", paths, fill), "Cache miss for key", "Cache saved: key", "1 link(s) that lead elsewhere are not cached")
	want(run("1", paths, read), "\none\nmineone\n\ntwo\n", "Cache restored: key", "1 cached file(s) not restored", "Skip saving the cache due to: key")
	want(run("2", paths, read), "\ntwo\n", "Cache saved: key")                             // C35 by its fallback
	want(run("1", "'deps/**/*'", "mkdir -p deps/d; echo z >deps/z"), "Cache miss for key") // C36
	if got := kept.Keys(); len(got) != 3 || got[0] == got[1] || got[0] != got[2] {
		t.Errorf("C35: got keys %q", got)
	}
}

// shares runs tests without a fanout, as the first and the second of two builds,
// where there are fewer files than builds, and where something fails.
const shares = `
run() { codebuild-tests-run --files-search "codebuild-glob-search 't/**/*_test.x'" "$@"; }
run --test-command 'printf "<%s>\n"'
SLIPWAY_SHARDS=2 SLIPWAY_SHARD=1 run --test-command 'printf "<%s>\n"'
export SLIPWAY_SHARDS=2 SLIPWAY_SHARD=2
run --test-command 'printf "<%s>\n"'
SLIPWAY_SHARD=1 codebuild-tests-run --test-command='echo "[$CODEBUILD_CURRENT_SHARD_FILES]"' --files-search='codebuild-glob-search "*_test.x" "t/b*" ./t/u/*.x'
codebuild-tests-run --test-command false --files-search 'echo t/d.x'
SLIPWAY_SHARD=1 codebuild-tests-run --test-command 'exit 3; echo' --files-search 'echo t/d.x' || echo $?
codebuild-tests-run --test-command true --files-search false || echo $?
`
