package specfile

import (
	"strings"
	"testing"
)

func TestWriteResults(t *testing.T) {
	results := []Result{
		{"a,b/buildspec.yml", "buildspec", Problems{{3, 5, Error, "YAML_FILE_ERROR", "bad: 100%", "fix it"}, {4, 1, Warning, CodeUnknownKey, "unknown key x", ""}}},
		{"appspec.yml", "appspec", nil},
	}
	tests := map[Format]string{
		Text:   "a,b/buildspec.yml:3:5: bad: 100% (fix it)\na,b/buildspec.yml:4:1: warning: unknown key x\n",
		GitHub: "::error file=a%2Cb/buildspec.yml,line=3,col=5,title=YAML_FILE_ERROR::bad: 100%25 (fix it)\n::warning file=a%2Cb/buildspec.yml,line=4,col=1,title=unknown-key::unknown key x\n",
		JSON: `{
  "files": [
    {
      "path": "a,b/buildspec.yml",
      "kind": "buildspec",
      "valid": false,
      "problems": [
        {
          "line": 3,
          "column": 5,
          "severity": "error",
          "code": "YAML_FILE_ERROR",
          "message": "bad: 100% (fix it)"
        },
        {
          "line": 4,
          "column": 1,
          "severity": "warning",
          "code": "unknown-key",
          "message": "unknown key x"
        }
      ]
    },
    {
      "path": "appspec.yml",
      "kind": "appspec",
      "valid": true,
      "problems": []
    }
  ]
}
`,
	}
	for format, want := range tests {
		var b strings.Builder
		if err := WriteResults(&b, format, results); err != nil || b.String() != want {
			t.Errorf("%s: got %s (%v)\nwant %s", format, b.String(), err, want)
		}
	}
	if WriteResults(&strings.Builder{}, "xml", nil) == nil {
		t.Error("an unknown format is accepted")
	}
}
