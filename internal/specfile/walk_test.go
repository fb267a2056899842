package specfile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScalarsKeepTheirSourceText(t *testing.T) {
	f := Parse([]byte("a: 3.10\nb: 0644\nc: 0.2\nd: '0755'\ne: true\nf: 012345678901\ng: 1_000\nh: 0x1F\n"), Options{})
	got := map[string]string{}
	for _, e := range f.Map(f.Root, "") {
		got[e.Key], _ = f.Text(e.Value, e.Path)
	}
	want := map[string]string{"a": "3.10", "b": "0644", "c": "0.2", "d": "0755", "e": "true", "f": "012345678901", "g": "1_000", "h": "0x1F"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestMapReportsDuplicateKeysWithBothLines(t *testing.T) {
	f := Parse([]byte("a: 1\nb: 2\na: 3\n"), Options{ErrorCode: "X"})
	if got := len(f.Map(f.Root, "top")); got != 2 {
		t.Errorf("got %d entries, want 2", got)
	}
	want := Problems{{3, 1, Error, "X", `top: key "a" occurs twice, in lines 1 and 3`, ""}}
	if d := cmp.Diff(want, f.Problems()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestMapResolvesMergeKeys(t *testing.T) {
	f := Parse([]byte("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n"), Options{})
	got := map[string]string{}
	for _, e := range f.Map(f.Map(f.Root, "")[1].Value, "y") {
		got[e.Key] = e.Value.Value
	}
	if d := cmp.Diff(map[string]string{"a": "1", "b": "3"}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestFlag(t *testing.T) {
	f := Parse([]byte("[yes, YES, On, 'true', \"True\", no, Off, FALSE, 'no', maybe, 1]"), Options{})
	if f.Root != nil {
		t.Fatal("a list at the top level is accepted")
	}
	f = Parse([]byte("x: [yes, YES, On, 'true', \"True\", no, Off, FALSE, 'no', '', maybe, 1]"), Options{})
	var got []bool
	for _, n := range f.List(f.Map(f.Root, "")[0].Value, "x") {
		got = append(got, f.Flag(n, "x"))
	}
	want := []bool{true, true, true, true, true, false, false, false, false, false, false, false}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if n := len(f.Problems()); n != 2 {
		t.Errorf("got %d problems, want 2 for maybe and 1: %v", n, f.Problems())
	}
}

func TestTexts(t *testing.T) {
	f := Parse([]byte("a: one\nb:\n  - x\n  -\n  - {y: z}\n  - 1\nc:\nd: {{ x }}\n"), Options{})
	var got [][]Item
	for _, e := range f.Map(f.Root, "") {
		got = append(got, f.Texts(e.Value, e.Path))
	}
	want := [][]Item{{{"one", 1, 4}}, {{"x", 3, 5}, {"1", 6, 5}}, nil, nil}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	wantErr := "f:5:5: b[2]: want text, have a map\nf:8:4: d: want a list, have a map (this looks like a template placeholder that was not filled in; quote the value or render the file first)"
	if err := f.Problems().Err("f"); err == nil || err.Error() != wantErr {
		t.Errorf("got  %v\nwant %s", err, wantErr)
	}
	if w := f.Problems().Warnings(); len(w) != 1 || w[0].Line != 4 {
		t.Errorf("warnings: %v", w)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"install", "pre_build", "build", "post_build", "commands", "artifacts", "ApplicationStart", "permissions"}
	tests := map[string]string{
		"pre-build": "pre_build", "PostBuild": "post_build", "command": "commands", "artefacts": "artifacts",
		"ApplicatiionStart": "ApplicationStart", "permission": "permissions", "biuld": "build", "test": "", "x": "", "zzzzzzz": "",
	}
	for word, want := range tests {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q): got %q, want %q", word, got, want)
		}
	}
}
