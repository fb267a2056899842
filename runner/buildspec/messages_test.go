package buildspec

import "testing"

func TestMessages(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"E1", NoFile, "YAML file does not exist"},
		{"E2", NoFileAt("/src/ci.yml"), "stat /src/ci.yml: no such file or directory"},
		{"E7", UnknownRuntime("docker", []string{"python", "java"}), "Unknown runtime named 'docker'. This build image has the following runtimes: java, python"},
		{"E8", UnknownVersion("nodejs", "12", []string{"20", "18"}), "Unknown runtime version named '12' of nodejs. This build image has the following versions: 18, 20"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}
