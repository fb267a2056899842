package ui

import (
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

func functions(version string) template.FuncMap {
	return template.FuncMap{
		"asset":     func(name string) string { return "/assets/" + name + "?v=" + version },
		"state":     stateOf,
		"ago":       ago,
		"exact":     exact,
		"moment":    moment,
		"took":      took,
		"short":     shortSHA,
		"firstLine": firstLine,
		"branch":    branchName,
		"size":      size,
		"segment":   url.PathEscape,
		"query":     url.QueryEscape,
		"words":     words,
		"bars":      executionBars,
		"phasebars": phaseBars,
		"pictures":  pictures,
		"covered":   covered,
		"duration":  duration,
		"merged":    batchReports,
		"pointpath": pointPath,
		"dated":     func(now time.Time, p pipeline.ReportPoint) datedPoint { return datedPoint{p, now} },
		"history":   history,
		"graphs":    graphsOf,
		"record":    recordOf,
		"icon":      icon,
		"isURL":     func(s string) bool { return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") },
		"title":     title,
		"joblink":   jobPath,
		"lower":     strings.ToLower,
		"lowerFirst": func(s string) string {
			if len(s) > 1 && strings.ToUpper(s[:2]) != s[:2] {
				return strings.ToLower(s[:1]) + s[1:]
			}
			return s
		},
		"repoof":    repoOf,
		"eventbars": eventBars,
		"tally":     tally,
		"healthy":   healthy,
		"deploymentstatuses": func() []pipeline.DeploymentStatus {
			return []pipeline.DeploymentStatus{pipeline.DeploymentQueued, pipeline.DeploymentInProgress, pipeline.DeploymentBaking, pipeline.DeploymentSucceeded, pipeline.DeploymentFailed, pipeline.DeploymentStopped}
		},
		"meeting": meeting,
		"statuses": func() []pipeline.Status {
			return []pipeline.Status{pipeline.InProgress, pipeline.Succeeded, pipeline.Failed, pipeline.Stopped, pipeline.Superseded, pipeline.Cancelled}
		},
		"printed": func(lines []string) bool {
			return slices.ContainsFunc(lines, func(l string) bool { return strings.TrimSpace(l) != "" })
		},
		"marker": func(n int64, b pipeline.Build) bool { return b.Failure != nil && b.Failure.LogLine == n },
	}
}

// State is how a status is shown: a word, and the class of its colour and icon.
type State struct{ Class, Word string }

var states = map[string]State{
	"":            {"waiting", "Not started"},
	"InProgress":  {"running", "In progress"},
	"INCOMPLETE":  {"ended", "Incomplete"},
	"IN_PROGRESS": {"running", "In progress"},
	"Baking":      {"running", "Baking"},
	"Stopping":    {"running", "Stopping"},
	"QUEUED":      {"waiting", "Queued"},
	"Created":     {"waiting", "Created"},
	"Queued":      {"waiting", "Queued"},
	"Pending":     {"waiting", "Pending"},
	"Succeeded":   {"good", "Succeeded"},
	"SUCCEEDED":   {"good", "Succeeded"},
	"ERROR":       {"bad", "Error"},
	"SKIPPED":     {"ended", "Skipped"},
	"UNKNOWN":     {"ended", "Unknown"},
	"Failed":      {"bad", "Failed"},
	"FAILED":      {"bad", "Failed"},
	"FAULT":       {"bad", "Fault"},
	"TIMED_OUT":   {"bad", "Timed out"},
	"Stopped":     {"ended", "Stopped"},
	"STOPPED":     {"ended", "Stopped"},
	"Superseded":  {"ended", "Superseded"},
	"Cancelled":   {"ended", "Cancelled"},
	"Abandoned":   {"ended", "Abandoned"},
	"Errored":     {"bad", "Errored"},
	"Overridden":  {"good", "Overridden"},
	"Skipped":     {"ended", "Skipped"},
	"accepted":    {"good", "Accepted"},
	"refused":     {"bad", "Refused"},
	"started":     {"good", "Started"},
	"ignored":     {"ended", "Ignored"},
	"failed":      {"bad", "Failed"},
}

// stateOf takes any of the status types.
func stateOf(status any) State {
	text := fmt.Sprint(status)
	if s, ok := states[text]; ok {
		return s
	}
	return State{"waiting", text}
}

var icons = map[string]template.HTML{
	"good":    `<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7"/><path d="M4.8 8.3l2.2 2.2 4.2-4.7"/></svg>`,
	"bad":     `<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7"/><path d="M5.5 5.5l5 5m0-5l-5 5"/></svg>`,
	"running": `<svg class="icon spin" viewBox="0 0 16 16" aria-hidden="true"><circle class="ring" cx="8" cy="8" r="6"/><path class="arc" d="M8 2a6 6 0 0 1 6 6"/></svg>`,
	"waiting": `<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><circle class="ring" cx="8" cy="8" r="6.2"/><path class="arc" d="M8 4.6V8l2.2 1.6"/></svg>`,
	"ended":   `<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7"/><path d="M4.8 8h6.4"/></svg>`,
}

// icon is a constant drawing for a class of states.
func icon(class string) template.HTML { return icons[class] }

// ago is a time as people say it. The exact one goes into the title.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return ""
	case d < 0, d < 10*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	case d < 30*24*time.Hour:
		return fmt.Sprintf("%d d ago", d/(24*time.Hour))
	}
	return t.UTC().Format("2 Jan 2006")
}

func exact(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// moment is a time that lies ahead, for people.
func moment(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 MST") }

// took is the time between two moments, until now if the end is missing.
func took(now, from, to time.Time) string {
	if from.IsZero() {
		return ""
	}
	if to.IsZero() {
		to = now
	}
	return duration(to.Sub(from))
}

func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

func shortSHA(sha string) string {
	if len(sha) > 8 {
		return sha[:8]
	}
	return sha
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

func branchName(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
}

func size(bytes int64) string {
	switch {
	case bytes < 1<<10:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	case bytes < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// words makes DOWNLOAD_SOURCE read as Download source.
func words(name string) string {
	if name != strings.ToUpper(name) || name == "" {
		return name
	}
	text := strings.ToLower(strings.ReplaceAll(name, "_", " "))
	return strings.ToUpper(text[:1]) + text[1:]
}
