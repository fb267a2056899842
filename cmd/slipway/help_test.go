package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// everyCommand calls f with each command that users see.
func everyCommand(c *cobra.Command, f func(*cobra.Command)) {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return
	}
	f(c)
	for _, sub := range c.Commands() {
		everyCommand(sub, f)
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	root := (&app{}).root()
	used := map[string]bool{}
	everyCommand(root, func(c *cobra.Command) {
		used[c.CommandPath()] = true
		if c.Example == "" && !c.HasSubCommands() {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			if !strings.Contains(line, "slipway ") {
				t.Errorf("%s: the example %q calls no slipway", c.CommandPath(), line)
			}
		}
		for line := range strings.Lines(c.Long) {
			if len(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%s: a line of its help is longer than 80: %q", c.CommandPath(), line)
			}
		}
	})
	for path := range examples {
		if !used[path] {
			t.Errorf("there are examples for %q, which is no command", path)
		}
	}
}

// TestExamplesParse has each example's flags read by the command that it is of.
func TestExamplesParse(t *testing.T) {
	for path, lines := range examples {
		for _, line := range lines {
			root := (&app{}).root()
			call := line[strings.LastIndex(line, "slipway ")+len("slipway "):]
			call, _, _ = strings.Cut(call, "  #")
			call, _, _ = strings.Cut(call, " > ")
			words := strings.Fields(call)
			c, rest, err := root.Find(words)
			if err == nil {
				err = c.ParseFlags(unquoted(rest))
			}
			if err != nil {
				t.Errorf("%s: %q: %v", path, line, err)
			}
		}
	}
}

// unquoted joins what quotes hold together.
func unquoted(words []string) []string {
	var out []string
	open := false
	for _, w := range words {
		if open {
			out[len(out)-1] += " " + w
		} else {
			out = append(out, w)
		}
		if strings.Count(w, `"`)%2 == 1 {
			open = !open
		}
	}
	return out
}
