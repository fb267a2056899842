package cache

import (
	"testing"
	"testing/fstest"
)

// The command codebuild-hash-files must print the same; the engines' suite has
// these very files and digests.
func TestSumsThatBuildsPrint(t *testing.T) {
	files := fstest.MapFS{}
	for name, text := range map[string]string{"a/x.txt": "1", "a/b/y.txt": "22", "b.txt": "333", "sp ace.md": "4", "a/c.go": "5"} {
		files[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	for _, tt := range []struct {
		globs []string
		want  string
	}{
		{[]string{"**/*.txt"}, "617977f1f1fa0ea4f0988389f81501e3ace180ea0e5f3b6fc181eaf33485e065"},
		{[]string{"*.{txt,md}", "./a/*.go"}, "486e74f40df168748b51e6066ec913e268d1c8dfcaefcead9edeb6fce13a394f"},
	} {
		if got, err := Sum(files, tt.globs); got != tt.want || err != nil {
			t.Errorf("%q: got %s, %v, want %s", tt.globs, got, err, tt.want)
		}
	}
}
