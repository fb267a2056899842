package buildspec

import (
	"strings"
	"testing"
)

// What no runner acts on is said, once, with its position.
func TestKeysWithoutEffectAreSaid(t *testing.T) {
	tests := []struct{ src, want string }{
		{build + "      - x\nbatch:\n  build-list: [{identifier: a, debug-session: yes}]\n", "7:32: warning: batch.build-list[0].debug-session has no effect"},
		{build + "      - x\nbatch:\n  build-list: [{identifier: a, env: {fleet: f}}]\n", "7:38: warning: batch.build-list[0].env.fleet has no effect"},
		{build + "      - x\nbatch:\n  build-list: [{identifier: a, env: {type: ARM_CONTAINER}}]\n", "batch.build-list[0].env.type has no effect"},
		{build + "      - x\nproxy: {logs: yes}\n", "6:1: warning: proxy has no effect"},
		{build + "      - x\nartifacts: {files: x, s3-prefix: p}\n", "6:23: warning: artifacts.s3-prefix has no effect"},
		{build + "      - x\nartifacts: {files: x, secondary-artifacts: {a: {files: x, s3-prefix: p}}}\n", "warning: artifacts.secondary-artifacts.a.s3-prefix has no effect"},
	}
	for _, tt := range tests {
		_, problems := parse(t, tt.src)
		if len(problems) != 1 || !strings.Contains(problems[0].String(), tt.want) {
			t.Errorf("%s\ngot %v, want one %q", tt.src, problems, tt.want)
		}
	}
	for _, src := range []string{"env: {git-credential-helper: yes}\n", "reports: {r: {files: x}}\n", "proxy: {logs: no, upload-artifacts: no}\n", "cache: {paths: x}\n"} {
		if _, problems := parse(t, build+"      - x\n"+src); len(problems) > 0 {
			t.Errorf("%s\ngot %v", src, problems)
		}
	}
}
