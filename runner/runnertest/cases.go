package runnertest

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
)

// spec is a version 0.2 buildspec with the given phases.
func spec(phases string) string { return "version: 0.2\nphases:\n" + phases }

func variables(vars ...pipeline.Variable) func(*pipeline.BuildOrder) {
	return func(o *pipeline.BuildOrder) { o.Variables = vars }
}

// tree is the worked example of CodeBuild reference 4.2.
var tree = map[string]string{
	"my-build-1/my-file-1.txt":                 "1",
	"my-build-2/my-file-2.txt":                 "2",
	"my-build-2/my-subdirectory/my-file-3.txt": "3",
}

const allGreen = begun + "INSTALL S, PRE_BUILD S, BUILD S, POST_BUILD S, " + tail

var cases = []conformance{
	{
		name: "C01 one phase", files: map[string]string{gitMark: ""}, spec: spec("  build:\n    commands: [echo hi]\n"),
		phases: allGreen, status: pipeline.BuildSucceeded, output: "hi\n", log: []string{"Running command echo hi\nhi\n"},
	},
	{
		name: "C02 version", spec: "version: 1.0\nphases:\n  build:\n    commands: [echo hi]\n",
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "YAML_FILE_ERROR", message: "invalid buildspec `version` specified: 1.0", absent: []string{"Running command"},
	},
	{
		name: "C03 phase name", spec: spec("  postbuild:\n    commands: [\"true\"]\n"),
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "YAML_FILE_ERROR", message: "Invalid buildspec phase name: postbuild. Expecting: build,install,post_build,pre_build",
	},
	{
		name: "C04 colon", spec: spec("  build:\n    commands:\n      - echo \"Hello: world\"\n"),
		status: pipeline.BuildFailed, code: "YAML_FILE_ERROR", message: "Expected Commands[0] to be of string type",
	},
	{
		name: "C05 no buildspec", files: map[string]string{"README": "x"},
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "YAML_FILE_ERROR", message: "YAML file does not exist",
	},
	{
		name: "C06 configured buildspec", files: map[string]string{"README": "x"},
		change: func(o *pipeline.BuildOrder) { o.Buildspec = "ci/b.yml" },
		status: pipeline.BuildFailed, code: "YAML_FILE_ERROR", message: "stat <told>ci/b.yml: no such file or directory",
	},
	{
		name:   "C07 install fails",
		spec:   spec("  install:\n    commands: [\"false\"]\n  pre_build:\n    commands: [echo no]\n  build:\n    commands: [echo no]\n  post_build:\n    commands: [echo no]\n"),
		phases: begun + "INSTALL F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "COMMAND_EXECUTION_ERROR", message: "Error while executing command: false. Reason: exit status 1", absent: []string{"echo no"},
	},
	{
		name:   "C08 pre_build fails",
		spec:   spec("  pre_build:\n    commands: [exit 7]\n  build:\n    commands: [echo no]\n"),
		phases: begun + "INSTALL S, PRE_BUILD F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed, message: "Reason: exit status 7",
	},
	{
		name:   "C09 build fails",
		spec:   spec("  build:\n    commands: [\"false\", echo no]\n  post_build:\n    commands: [echo $CODEBUILD_BUILD_SUCCEEDING]\n"),
		phases: begun + "INSTALL S, PRE_BUILD S, BUILD F, POST_BUILD S, " + tail, status: pipeline.BuildFailed, output: "0\n",
	},
	{
		name:   "C10 post_build fails",
		spec:   spec("  build:\n    commands: [\"true\"]\n  post_build:\n    commands: [\"false\"]\n") + "artifacts:\n  files: [buildspec.yml]\n",
		phases: begun + "INSTALL S, PRE_BUILD S, BUILD S, POST_BUILD F, " + tail, status: pipeline.BuildFailed, files2: []string{"buildspec.yml"},
	},
	{
		name:   "C11 abort",
		spec:   spec("  build:\n    on-failure: ABORT\n    commands: [\"false\"]\n  post_build:\n    commands: [echo no]\n"),
		phases: begun + "INSTALL S, PRE_BUILD S, BUILD F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
	},
	{
		name:   "C12 continue",
		spec:   spec("  pre_build:\n    on-failure: CONTINUE\n    commands: [\"false\"]\n  build:\n    commands: [\"echo b $CODEBUILD_BUILD_SUCCEEDING\"]\n"),
		phases: begun + "INSTALL S, PRE_BUILD F, BUILD S, POST_BUILD S, " + tail, status: pipeline.BuildFailed, output: "b 0\n",
	},
	{
		name:   "C13 finally after a failure",
		spec:   spec("  build:\n    commands: [\"false\"]\n    finally: [echo f]\n"),
		phases: begun + "INSTALL S, PRE_BUILD S, BUILD F, POST_BUILD S, " + tail, status: pipeline.BuildFailed, output: "f\n",
	},
	{
		name:   "C14 finally fails",
		spec:   spec("  build:\n    commands: [\"true\"]\n    finally: [\"false\"]\n"),
		phases: begun + "INSTALL S, PRE_BUILD S, BUILD F, POST_BUILD S, " + tail, status: pipeline.BuildFailed,
	},
	{
		name: "C15 assignment", spec: spec("  build:\n    commands: [A=1, \"echo v=$A\"]\n"),
		status: pipeline.BuildSucceeded, output: "v=1\n",
	},
	{
		name: "C16 state across phases", files: map[string]string{"sub/x": "", gitMark: ""},
		spec:   spec("  pre_build:\n    commands: [cd sub, export X=2]\n  build:\n    commands: [pwd, \"echo $X\"]\n"),
		status: pipeline.BuildSucceeded, output: "<src>/sub\n2\n",
	},
	{
		name: "C17 version 0.1", files: map[string]string{"sub/x": ""},
		spec:   "version: 0.1\nphases:\n  build:\n    commands: [cd sub, pwd, export X=2, \"echo [$X]\"]\n",
		status: pipeline.BuildSucceeded, output: "<src>\n[]\n",
	},
	{
		name: "C18 exit 0", spec: spec("  build:\n    commands: [exit 0, echo after]\n"),
		phases: allGreen, status: pipeline.BuildSucceeded, output: "after\n",
	},
	{
		name: "C19 block", spec: spec("  build:\n    commands:\n      - |\n        false\n        true\n"),
		phases: allGreen, status: pipeline.BuildSucceeded,
	},
	{
		name: "C19 a command of a project with strict_shell", spec: spec("  build:\n    commands: [A=1, echo $A; false; echo no]\n    finally: [echo end]\n"),
		change: func(o *pipeline.BuildOrder) { o.StrictShell = true },
		status: pipeline.BuildFailed, message: "exit status 1", output: "1\nend\n",
	},
	{
		name: "C19 a pipe in bash of a project with strict_shell", bash: true, spec: spec("  build:\n    commands: ['false | cat']\n"),
		change: func(o *pipeline.BuildOrder) { o.StrictShell = true },
		status: pipeline.BuildFailed, message: "exit status 1",
	},
	{
		name: "C20 bash arrays", bash: true, spec: spec("  build:\n    commands: [arr=(a b), 'echo \"<${arr[1]}>\"']\n"),
		status: pipeline.BuildSucceeded, output: "<>\n",
	},
	{
		name: "C21 bash syntax in dash", dash: true, spec: spec("  build:\n    commands: ['[[ a == a ]]']\n"),
		status: pipeline.BuildFailed, message: "exit status 127", log: []string{"script.sh: 4: [[: not found"},
	},
	{
		name: "C21 line number in bash", bash: true, spec: spec("  build:\n    commands: ['nosuch a', 'echo no']\n"),
		status: pipeline.BuildFailed, message: "exit status 127", log: []string{"script.sh: line 4: nosuch: command not found"},
	},
	{
		name: "C22 literal values", spec: "version: 0.2\nenv:\n  variables:\n    PATH: \"$PATH:/x\"\nphases:\n  build:\n    commands: ['echo \"$PATH\"']\n",
		status: pipeline.BuildSucceeded, output: "$PATH:/x\n",
	},
	{
		name: "C23 buildspec", spec: "version: 0.2\nenv:\n  variables:\n    V: a\nphases:\n  build:\n    commands: ['echo $V']\n",
		status: pipeline.BuildSucceeded, output: "a\n",
	},
	{
		name: "a region that a project sets under one name counts under both", spec: spec("  build:\n    commands: ['echo $AWS_REGION $AWS_DEFAULT_REGION']\n"),
		change: func(o *pipeline.BuildOrder) {
			o.BuiltIn = []pipeline.Variable{{Name: "AWS_REGION", Value: "local"}, {Name: "AWS_DEFAULT_REGION", Value: "local"}}
			o.Variables = []pipeline.Variable{{Name: "AWS_DEFAULT_REGION", Value: "eu-west-1"}}
		},
		status: pipeline.BuildSucceeded, output: "eu-west-1 eu-west-1\n",
	},
	{
		name: "regions that are set apart stay apart", spec: "version: 0.2\nenv: {variables: {AWS_REGION: a, AWS_DEFAULT_REGION: b}}\nphases:\n  build:\n    commands: ['echo $AWS_REGION $AWS_DEFAULT_REGION']\n",
		status: pipeline.BuildSucceeded, output: "a b\n",
	},
	{
		name: "a shell of Windows is refused", spec: "version: 0.2\nenv: {shell: powershell.exe}\nphases:\n  build:\n    commands: ['Write-Host hi']\n",
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "YAML_FILE_ERROR", message: "env.shell: powershell.exe is a shell of Windows images",
	},
	{
		name: "C23 project over buildspec", spec: "version: 0.2\nenv:\n  variables:\n    V: a\nphases:\n  build:\n    commands: ['echo $V']\n",
		change: variables(pipeline.Variable{Name: "V", Value: "b"}),
		status: pipeline.BuildSucceeded, output: "b\n",
	},
	{
		name: "C23 start over project", spec: "version: 0.2\nenv:\n  variables:\n    V: a\nphases:\n  build:\n    commands: ['echo $V']\n",
		change: variables(pipeline.Variable{Name: "V", Value: "b"}, pipeline.Variable{Name: "V", Value: "c"}),
		status: pipeline.BuildSucceeded, output: "c\n",
	},
	{
		name: "C24 masking", spec: spec("  build:\n    commands: [echo hunter22 xhunter22y, 'echo hunter22; exit 3']\n"),
		change: variables(pipeline.Variable{Name: "S", Value: "hunter22", Secret: true}),
		status: pipeline.BuildFailed, output: "*** x***y\n***\n", log: []string{"Running command echo *** x***y"},
		message: "Error while executing command: echo ***; exit 3. Reason: exit status 3", absent: []string{"hunter22"},
	},
	{
		name: "C25 secrets without a place to look them up", spec: "version: 0.2\nenv:\n  secrets-manager:\n    K: id:user\nphases:\n  build:\n    commands: [echo no]\n",
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed, code: "Decrypted Variables Error",
	},
	{
		name:   "C27 exported variables",
		spec:   "version: 0.2\nenv:\n  exported-variables: [V, EMPTY, W]\nphases:\n  build:\n    commands: [V=1, EMPTY=, \"W='a  b$c'\"]\n  post_build:\n    commands: [V=2]\n",
		status: pipeline.BuildSucceeded, exported: map[string]string{"V": "2", "EMPTY": "", "W": "a  b$c"},
	},
	{
		name:   "C28 names that are never exported",
		spec:   "version: 0.2\nenv:\n  exported-variables: [AWS_FOO, V, NONE]\nphases:\n  build:\n    commands: [AWS_FOO=1, V=2]\n",
		status: pipeline.BuildSucceeded, exported: map[string]string{"V": "2"}, log: []string{"AWS_FOO is not exported", "NONE is not exported"},
	},
	{
		name: "C29 files below a base directory", files: tree,
		spec:   spec("  build:\n    commands: [cd my-build-1]\n") + "artifacts:\n  files: ['*/my-file-3.txt']\n  base-directory: my-build-2\n",
		status: pipeline.BuildSucceeded, files2: []string{"my-subdirectory/my-file-3.txt"},
	},
	{
		name: "C30 glob as base directory, paths discarded", files: tree,
		spec:   spec("  build:\n    commands: [\"true\"]\n") + "artifacts:\n  files: ['**/*']\n  base-directory: 'my-build*'\n  discard-paths: yes\n",
		status: pipeline.BuildSucceeded, files2: []string{"my-file-1.txt", "my-file-2.txt", "my-file-3.txt"},
	},
	{
		name:   "C31 no file",
		spec:   spec("  build:\n    commands: [\"true\"]\n") + "artifacts:\n  files: [out.zip]\n",
		phases: begun + "INSTALL S, PRE_BUILD S, BUILD S, POST_BUILD S, UPLOAD_ARTIFACTS F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "CLIENT_ERROR", message: "no matching artifact paths found", log: []string{"Skipping invalid file path out.zip"},
	},
	{
		name: "a file by an absolute path, in the source and outside of it", files: map[string]string{"d/x": "1"},
		spec:   spec("  build:\n    commands: [\"true\"]\n") + "artifacts:\n  files: [$CODEBUILD_SRC_DIR/d/x, /no/such/y.zip]\n",
		status: pipeline.BuildSucceeded, files2: []string{"d/x"},
		log: []string{"Warning: /no/such/y.zip is outside of ", "Skipping invalid file path /no/such/y.zip"},
	},
	{
		name:   "a file whose name is no UTF-8",
		spec:   spec("  build:\n    commands:\n      - mkdir d && echo 1 >d/x && echo 2 >\"$(printf 'd/n\\377')\"\n") + "artifacts:\n  files: ['**/*']\n",
		status: pipeline.BuildSucceeded, files2: []string{"buildspec.yml", "d/x"},
		log: []string{`Warning: "d/n\xff" is left out: its name is no UTF-8`},
	},
	{
		name: "4.1.2 a base directory outside of the source", spec: spec("  build:\n    commands: ['D=$(cd .. && pwd)/base', 'mkdir -p $D/x', 'echo 1 > $D/x/f']\n") +
			"artifacts:\n  base-directory: $D\n  files: ['**/*']\n  secondary-artifacts:\n    other: {base-directory: $D/x, files: f}\n",
		status: pipeline.BuildSucceeded, files2: []string{"x/f"}, secondary: map[string][]string{"other": {"f"}},
	},
	{
		name: "E13 a base directory outside of the source that isn't there", spec: spec("  build:\n    commands: [\"true\"]\n") + "artifacts: {base-directory: /no/such, files: '**/*'}\n",
		status: pipeline.BuildFailed, code: "CLIENT_ERROR", message: "no matching base directory path found for /no/such",
	},
	{
		name: "a base directory round the source", spec: spec("  build:\n    commands: [\"true\"]\n") + "artifacts: {base-directory: /, files: '**/*'}\n",
		status: pipeline.BuildFailed, code: "CLIENT_ERROR", message: "base-directory /: want a folder in or beside the source",
	},
	{
		name:   "C32 no base directory",
		spec:   spec("  build:\n    commands: [\"true\"]\n") + "artifacts:\n  files: ['**/*']\n  base-directory: dist\n",
		status: pipeline.BuildFailed, code: "CLIENT_ERROR", message: "no matching base directory path found for dist",
	},
	{
		name:   "C33 only secondary artifacts",
		spec:   spec("  build:\n    commands: [\"true\"]\n") + "artifacts:\n  secondary-artifacts:\n    one:\n      files: ['**/*']\n",
		status: pipeline.BuildFailed, code: "CLIENT_ERROR", message: "no definition for primary artifacts in buildspec",
	},
	{
		name: "state: functions, options and traps do not live on", spec: spec(`  build:
    commands:
      - |
        f() { echo no; }
        set -eu
        trap 'true' USR1
      - 'f 2>/dev/null || echo gone'
      - 'false; echo still here $UNSET'
`), status: pipeline.BuildSucceeded, log: []string{"\ngone\n", "\nstill here\n"}, absent: []string{"\nno\n"},
	},
	{
		name:   "state: set -e ends its command only, with its status",
		spec:   spec("  build:\n    commands: ['set -e; (exit 4); echo no']\n  post_build:\n    commands: [echo post]\n"),
		status: pipeline.BuildFailed, message: "exit status 4", output: "post\n",
	},
	{
		name: "state: an unset variable stays unset", spec: spec("  build:\n    commands: ['unset V HOME', 'echo \"<$V$HOME>\"']\n"),
		change: variables(pipeline.Variable{Name: "V", Value: "x"}), status: pipeline.BuildSucceeded, output: "<>\n",
	},
	{
		name: "state: odd values", spec: spec("  build:\n    commands:\n      - |\n        A='it'\"'\"'s \"$x\" `y` \\ *'\n        B='two\n        lines'\n      - 'echo \"$A\"'\n      - 'echo \"$B$C\"'\n"),
		change: variables(pipeline.Variable{Name: "C", Value: "'q' \"r\" $HOME `id`\nexport D=evil\n"}),
		status: pipeline.BuildSucceeded, log: []string{"\nit's \"$x\" `y` \\ *\n", "\ntwo\nlines'q' \"r\" $HOME `id`\nexport D=evil\n\n"},
	},
	{
		name: "state: a folder that is gone", spec: spec("  build:\n    commands: ['(true); mkdir d; cd d; rmdir ../d', pwd]\n"),
		status: pipeline.BuildSucceeded, output: "<src>\n",
	},
	{
		name: "state: a killed shell keeps what was before", spec: spec("  build:\n    commands: [V=1, 'V=2; kill -9 $$']\n    finally: ['echo v=$V']\n"),
		status: pipeline.BuildFailed, message: "exit status 137", log: []string{"\nv=1\n"},
	},
	{
		name: "state: exec replaces the shell of one command", spec: spec("  build:\n    commands: [V=1, 'exec echo replaced', 'echo v=$V']\n"),
		status: pipeline.BuildSucceeded, output: "replaced\nv=1\n",
	},
	{
		name: "a broken PATH breaks commands only", spec: spec("  build:\n    commands: ['export PATH=', 'echo fine']\n"),
		status: pipeline.BuildSucceeded, output: "fine\n",
	},
	{
		name: "a child in the background does not hang the build", spec: spec("  build:\n    commands: ['sleep 600 &', 'echo on']\n"),
		status: pipeline.BuildSucceeded, output: "on\n",
	},
	{
		name: "commands have no input", spec: spec("  build:\n    commands: ['cat; echo end']\n"),
		status: pipeline.BuildSucceeded, output: "end\n",
	},
	{
		name: "output without a line end", spec: spec("  build:\n    commands: ['printf abc', 'printf def', 'echo ghi']\n"),
		status: pipeline.BuildSucceeded, log: []string{"\nabc\n[Container] ", "\ndef\n[Container] "},
	},
	{
		name: "commands of several lines are one unit", spec: spec("  build:\n    commands:\n      - |\n        for i in 1 2; do\n          echo $i\n        done\n        while read -r l; do echo \"doc $l\"; done <<EOF\n        x\n        EOF\n"),
		status: pipeline.BuildSucceeded, log: []string{"\n1\n2\ndoc x\n"},
	},
	{
		name: "syntax errors fail the command", spec: spec("  build:\n    commands: ['if then', 'echo no']\n  post_build:\n    commands: [echo post]\n"),
		status: pipeline.BuildFailed, message: "exit status 2", absent: []string{"\nno\n"}, log: []string{"\npost\n"},
	},
	{
		name: "variables of the runner", spec: spec("  build:\n    commands: ['echo $CI $SLIPWAY $CODEBUILD_BUILD_ID $CODEBUILD_BUILD_NUMBER $CODEBUILD_SRC_DIR', 'test -n \"$CODEBUILD_RESOLVED_SOURCE_VERSION$CODEBUILD_START_TIME\"']\n"),
		status: pipeline.BuildSucceeded, output: "true true octo-app:0b8ee8a0-1111-5222-8333-444455556666 7 <src>\n",
	},
	{
		name: "users can't set CODEBUILD_ variables", spec: spec("  build:\n    commands: ['echo $CODEBUILD_BUILD_NUMBER']\n"),
		change: variables(pipeline.Variable{Name: "CODEBUILD_BUILD_NUMBER", Value: "x"}), status: pipeline.BuildSucceeded, output: "7\n",
	},
	{
		name: "names that no shell has", spec: spec("  build:\n    commands: ['echo ok']\n"),
		change: variables(pipeline.Variable{Name: "a-b", Value: "x"}, pipeline.Variable{Name: "x;echo evil", Value: "x"}, pipeline.Variable{Name: "UID", Value: "0"}),
		status: pipeline.BuildSucceeded, output: "ok\n",
	},
	{
		name: "a chosen shell", spec: "version: 0.2\nenv:\n  shell: sh\nphases:\n  build:\n    commands: ['echo \"<$BASH_VERSION>\"']\n", dash: true,
		status: pipeline.BuildSucceeded, output: "<>\n",
	},
	{
		name: "excluded files and links that lead out", files: map[string]string{"out/a.txt": "a", "out/b.log": "b", "out/.hidden/c": "c"},
		spec:   spec("  build:\n    commands: ['ln -s /etc/passwd out/leak; ln -s a.txt out/inner']\n") + "artifacts:\n  files: ['**/*']\n  base-directory: ./out\n  exclude-paths: ['**/*.log', '**/.*/**/*']\n",
		status: pipeline.BuildSucceeded, files2: []string{"a.txt", "inner"},
	},
	{
		name: "expressions in artifacts", files: map[string]string{"d/x": "x"},
		spec:   spec("  build:\n    commands: [D=d]\n") + "artifacts:\n  files: ['$D/x']\n  base-directory: $CODEBUILD_SRC_DIR\n  name: n-$(echo 7)\n",
		status: pipeline.BuildSucceeded, files2: []string{"d/x"},
	},
	{
		name: "discarded paths that collide", files: map[string]string{"a/x": "1", "b/x": "2"},
		spec:   spec("  build:\n    commands: [\"true\"]\n") + "artifacts:\n  files: ['**/x']\n  discard-paths: yes\n",
		status: pipeline.BuildFailed, code: "CLIENT_ERROR", message: "a/x and b/x",
	},
	{
		name: "state: a group shares what shells of their own would", spec: spec(`  build:
    commands: ['mkdir -p bin d', 'PATH=$PWD/bin:$PATH', 'echo "echo one" >bin/tool', 'chmod +x bin/tool', 'cd d', 'cd -', 'tool', 'cd d', 'rmdir ../d', 'pwd', 'CODEBUILD_BUILD_SUCCEEDING=0', 'echo $CODEBUILD_BUILD_SUCCEEDING']
`), status: pipeline.BuildSucceeded, output: "<src>\none\n<src>\n1\n",
	},
	{
		name:   "state: a shared shell that is killed fails its command",
		spec:   spec("  build:\n    commands: [echo a, \"sh -c 'kill -9 $PPID; sleep 5'\", echo no]\n    finally: ['echo f', 'echo g']\n"),
		status: pipeline.BuildFailed, message: "kill -9 $PPID; sleep 5'. Reason: exit status 137", log: []string{"\nf\n", "\ng\n"}, absent: []string{"\nno\n"},
	},
	{
		name: "state: an exported variable that is the shell's own", spec: spec("  build:\n    commands: ['export UID SHELLOPTS', 'export V=1; echo on', 'echo $V']\n"),
		status: pipeline.BuildSucceeded, log: []string{"\non\n", "\n1\n"},
	},
	{
		name: "C49 no such version of a runtime", runtimes: true, spec: spec("  install:\n    runtime-versions:\n      nodejs: 99\n"),
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "YAML_FILE_ERROR", message: "Unknown runtime version named '99' of nodejs. This build image has the following versions: 18, 20",
	},
	{
		name: "C49 no such version of docker", runtimes: true, spec: spec("  install:\n    runtime-versions:\n      docker: 20\n"),
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "YAML_FILE_ERROR", message: "Unknown runtime version named '20' of docker",
	},
	{
		name: "C49 no such runtime", runtimes: true, spec: spec("  install:\n    runtime-versions:\n      cobol: 85\n"),
		phases: "PROVISIONING S, DOWNLOAD_SOURCE F, FINALIZING S, COMPLETED", status: pipeline.BuildFailed,
		code: "YAML_FILE_ERROR", message: "Unknown runtime named 'cobol'. This build image has the following runtimes: docker, nodejs, python",
	},
	{
		name: "C50 versions are text", runtimes: true, spec: spec("  install:\n    runtime-versions:\n      python: 3.10\n      nodejs: latest\n"),
		status: pipeline.BuildSucceeded, output: "python 3.10\nnodejs 20\n",
	},
	{
		name: "run-as", users: true, spec: spec("  build:\n    run-as: nobody\n    commands: ['touch made; id -un', V=1]\n  post_build:\n    commands: ['echo $V; id -un']\n"),
		status: pipeline.BuildSucceeded, output: "nobody\n1\nroot\n",
	},
	{
		name: "run-as an unknown user", users: true, spec: spec("  build:\n    run-as: nosuch\n    commands: ['echo no']\n"),
		status: pipeline.BuildFailed, code: "COMMAND_EXECUTION_ERROR", absent: []string{"\nno\n"},
	},
}

// checkNames compares the names of the files in an archive.
func checkNames(t *testing.T, data []byte, want []string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := archive.Unpack(bytes.NewReader(data), dir, archive.Limits{}, nil); err != nil {
		t.Errorf("unpacking artifact: %v", err)
		return
	}
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, relErr := filepath.Rel(dir, path)
			got, err = append(got, filepath.ToSlash(rel)), relErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files of the artifact (-want +got):\n%s", diff)
	}
}
