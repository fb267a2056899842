package chat

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// brief is a command as the tables write it.
func brief(commands []Command, problems []Problem) []string {
	var out []string
	for _, c := range commands {
		words := append([]string{c.Spec.Name}, c.Args...)
		for _, f := range []string{"n", "m", "run", "sha", "to", "pipeline", "abandon"} {
			if v, ok := c.Flags[f]; ok {
				words = append(words, "-"+f+"="+v)
			}
		}
		for _, k := range []string{"REGION", "LEVEL"} {
			if v, ok := c.Variables[k]; ok {
				words = append(words, k+":"+v)
			}
		}
		if c.Custom != "" {
			words[0] += ": " + c.Custom
		}
		if c.Unknown != nil {
			words[0] += " ? " + c.Unknown.Error()
		}
		out = append(out, strings.Join(words, " "))
	}
	for _, p := range problems {
		out = append(out, "? "+p.Message)
	}
	return out
}

// Attacks: 11.
func TestParse(t *testing.T) {
	tests := []struct {
		name, body string
		want       []string
	}{
		{"plain", "/test", []string{"test"}},
		{"with text around", "Looks good.\n/test unit lint\nThanks!", []string{"test unit lint"}},
		{"any case, Windows lines, trailing blanks", "/TEST unit \r\n/Status\r\n", []string{"test unit", "status"}},
		{"prefixed", "/slipway test all", []string{"test all"}},
		{"prefixed twice over", "/slipway /test", []string{"test"}},
		{"the prefix alone", "/slipway", []string{"help"}},
		{"not in the first column", " /test\n\t/test\n    /test\nplease /test", nil},
		{"quoted text", "> /test\n> > /test", nil},
		{"a fence", "```\n/test\n```\n/status", []string{"status"}},
		{"a fence of tildes with a language", "~~~sh\n/test\n~~~~\n/status", []string{"status"}},
		{"a longer fence holds a shorter one", "````\n```\n/test\n```\n````\n/status", []string{"status"}},
		{"a fence that is never closed", "/status\n```\n/test", []string{"status"}},
		{"a span of code is no fence", "```a``` b\n/status", []string{"status"}},
		{"an HTML comment", "<!-- \n/test\n-->\n/status", []string{"status"}},
		{"an HTML comment at the end of a command", "/test unit <!-- why -->", []string{"test unit"}},
		{"an HTML comment before a command", "<!-- x -->/test", nil},
		{"preformatted", "<pre>\n/test\n</pre>\n<code class=x>\n/test\n</CODE>\n/status", []string{"status"}},
		{"details count", "<details>\n\n/test\n\n</details>", []string{"test"}},
		{"twice the same", "/test\n/test\n/status", []string{"test", "status"}},
		{"an unknown name may be a pipeline's", "/lgtm\n/label  bug \n/path/to/file\n//test\n/", []string{"lgtm: /lgtm", "label: /label bug"}},
		{"at most ten of them", strings.Repeat("/test\n", 1) + "/aa\n/bb\n/cc\n/dd\n/ee\n/ff\n/gg\n/hh\n/ii\n/jj\n/kk\n/status",
			[]string{"test", "aa: /aa", "bb: /bb", "cc: /cc", "dd: /dd", "ee: /ee", "ff: /ff", "gg: /gg", "hh: /hh", "ii: /ii", "jj: /jj", "status"}},
		{"an unknown name that is meant for us", "/slipway tset now", []string{"tset: /tset now ? there is no command \"tset\"; did you mean `/test`?"}},
		{"and one that is near nothing", "/slipway frobnicate", []string{"frobnicate: /frobnicate ? there is no command \"frobnicate\"; `/help` lists them"}},
		{"and one that can't be a name", "/slipway +1", []string{"? that is no command; `/help` lists them"}},
		{"flags", `/approve go-live --sha=abc1234 -m "ship \"it\"" --run 12`, []string{`approve go-live -m=ship "it" -run=12 -sha=abc1234`}},
		{"variables", `/deploy prod REGION=eu LEVEL="a b"`, []string{"deploy prod REGION:eu LEVEL:a b"}},
		{"nothing is expanded", "/test $HOME `id` *.go ~root {a,b}", []string{"test $HOME `id` *.go ~root {a,b}"}},
		{"a quoted flag is a word", `/test "--all" 'x=y'`, []string{"test --all x=y"}},
		{"an open quote", `/test "unit`, []string{`? a " isn't closed`}},
		{"an unknown flag", "/test --now", []string{"? there is no flag `--now`; usage: `/test [PIPELINE... | all]`"}},
		{"a flag without its value", "/logs unit -n", []string{"? the flag `-n` wants a value; usage: `/logs ACTION [-n 1..200]`"}},
		{"a flag with a value that it doesn't take", "/cancel --abandon=no", []string{"? the flag `--abandon` takes no value; usage: `/cancel [EXECUTION | PIPELINE | all] [--abandon]`"}},
		{"a flag twice", "/logs a -n 1 -n 2", []string{"? the flag `-n` is there twice; usage: `/logs ACTION [-n 1..200]`"}},
		{"variables where there are none", "/test A=b", []string{"? it takes no variables; usage: `/test [PIPELINE... | all]`"}},
		{"too few arguments", "/deploy", []string{"? an argument is missing; usage: `/deploy ENV [--sha SHA] [--pipeline P] [KEY=VALUE...]`"}},
		{"too many", "/deploy a b", []string{"? there are too many arguments; usage: `/deploy ENV [--sha SHA] [--pipeline P] [KEY=VALUE...]`"}},
		{"what a message repeats ends no code span", "/test --a`b", []string{"? there is no flag `--a'b`; usage: `/test [PIPELINE... | all]`"}},
		{"as CodeBuild writes it", "/codebuild_run(" + strings.Repeat("a1", 20) + ")", []string{"ok-to-test " + strings.Repeat("a1", 20)}},
		{"but with all of the commit", "/codebuild_run(a1b2c3d)", nil},
		{"a line that is too long", "/test " + strings.Repeat("x", 520), []string{"? the line is longer than 512 characters"}},
		{"composed and decomposed letters are the same", "/test e\u0301\n/test \u00e9", []string{"test \u00e9"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			commands, problems, err := Parse(tt.body, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, brief(commands, problems)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParsePrefixOnly(t *testing.T) {
	commands, problems, err := Parse("/test\n/slipway status\n/codebuild_run("+strings.Repeat("a", 40)+")", true)
	if diff := cmp.Diff([]string{"status"}, brief(commands, problems)); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// Attacks: 11.
func TestParseRefusesWhole(t *testing.T) {
	many := ""
	for i := range commandsLimit + 1 {
		many += "/test p" + string(rune('a'+i)) + "\n"
	}
	for name, body := range map[string]string{
		"too many commands": many, "too long": "/test\n" + strings.Repeat("x", bodyLimitBytes), "no text": "/test\n\xff",
	} {
		if commands, problems, err := Parse(body, false); !errors.Is(err, ErrRefused) || commands != nil || problems != nil {
			t.Errorf("%s: got %v, %v, %v", name, commands, problems, err)
		}
	}
}

// FuzzParse holds that whatever is understood was a line of the comment that
// begins with a slash, and is understood the same when it stands alone.
func FuzzParse(f *testing.F) {
	f.Add("/test unit\n```\n/approve\n```\n> /reject")
	f.Add("<!--\n/test\n-->\n/deploy prod A=b --sha 'c d'")
	f.Fuzz(func(t *testing.T, body string) {
		commands, _, err := Parse(body, false)
		if err != nil {
			return
		}
		for _, c := range commands {
			if !strings.HasPrefix(c.Text, "/") || strings.Contains(c.Text, "\n") {
				t.Errorf("%q is no line of a command", c.Text)
			}
			again, problems, err := Parse(c.Text, false)
			if err != nil || len(problems) > 0 {
				t.Fatalf("%q alone: %v, %v", c.Text, problems, err)
			}
			if diff := cmp.Diff(brief([]Command{c}, nil), brief(again, nil)); diff != "" {
				t.Errorf("%q alone (-want +got)\n%s", c.Text, diff)
			}
		}
	})
}
