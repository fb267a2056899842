package forgetest

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// checkBody is the body of both requests on check runs.
type checkBody struct {
	Name        *string    `json:"name"`
	HeadSHA     string     `json:"head_sha"`
	DetailsURL  *string    `json:"details_url"`
	ExternalID  *string    `json:"external_id"`
	Status      string     `json:"status"`
	Conclusion  string     `json:"conclusion"`
	StartedAt   *time.Time `json:"started_at"`
	CompletedAt *time.Time `json:"completed_at"`
	Output      *struct {
		Title       *string      `json:"title"`
		Summary     *string      `json:"summary"`
		Text        *string      `json:"text"`
		Annotations []Annotation `json:"annotations"`
	} `json:"output"`
	Actions []Action `json:"actions"`
}

var (
	shaShape    = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	conclusions = []string{"action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"}
)

const (
	outputLimit     = 65535
	messageLimit    = 64 << 10
	titleLimit      = 255
	annotationBatch = 50
	actionLimit     = 3
)

// wrong is what GitHub would refuse; empty: nothing.
func (b *checkBody) wrong() string {
	switch {
	case b.Name != nil && *b.Name == "":
		return "name is empty"
	case b.Status == "completed" && b.Conclusion == "":
		return "conclusion is required if status is completed"
	case b.Conclusion != "" && !slices.Contains(conclusions, b.Conclusion):
		return "conclusion is not included in the list"
	case !slices.Contains([]string{"", "queued", "in_progress", "completed"}, b.Status):
		return "status is not included in the list"
	case len(b.Actions) > actionLimit:
		return "only 3 actions are allowed"
	}
	for _, a := range b.Actions {
		if a.Label == "" || a.Identifier == "" || units(a.Label) > 20 || units(a.Description) > 40 || units(a.Identifier) > 20 {
			return fmt.Sprintf("action %q is missing something or too long", a.Label)
		}
	}
	return b.wrongOutput()
}

func (b *checkBody) wrongOutput() string {
	o := b.Output
	switch {
	case o == nil:
		return ""
	case o.Summary == nil || o.Title == nil:
		return "title and summary are required"
	case units(*o.Summary) > outputLimit, o.Text != nil && units(*o.Text) > outputLimit:
		return "only 65535 characters are allowed"
	case len(o.Annotations) > annotationBatch:
		return "no more than 50 annotations a request"
	}
	for _, a := range o.Annotations {
		switch {
		case a.Path == "" || strings.HasPrefix(a.Path, "/") || a.StartLine < 1 || a.EndLine < a.StartLine:
			return fmt.Sprintf("annotation of %q has no place", a.Path)
		case !slices.Contains([]string{"notice", "warning", "failure"}, a.Level):
			return "annotation_level is not included in the list"
		case a.Message == "" || len(a.Message) > messageLimit || len(a.RawDetails) > messageLimit || units(a.Title) > titleLimit:
			return "annotation text is missing or too long"
		case a.StartLine != a.EndLine && (a.StartColumn != 0 || a.EndColumn != 0):
			return "columns need a single line"
		}
	}
	return ""
}

func units(s string) int { return len(utf16.Encode([]rune(s))) }

func (g *GitHub) createCheck(r *repository) (int, any) {
	var b checkBody
	if !r.read(&b) {
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	}
	if b.Name == nil || !shaShape.MatchString(b.HeadSHA) {
		return fail(http.StatusUnprocessableEntity, "name and head_sha are required")
	}
	if text := b.wrong(); text != "" {
		return fail(http.StatusUnprocessableEntity, text)
	}
	c := &CheckRun{ID: g.id(), Repo: r.FullName(), AppID: g.o.AppID, SHA: b.HeadSHA, Status: "queued"}
	g.checks[c.ID] = c
	g.apply(c, &b)
	return http.StatusCreated, checkOf(*c)
}

func (g *GitHub) updateCheck(r *repository) (int, any) {
	c := g.checks[r.number("id")]
	var b checkBody
	switch {
	case c == nil || c.Repo != r.FullName():
		return fail(http.StatusNotFound, "Not Found")
	case !r.read(&b):
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	}
	if text := b.wrong(); text != "" {
		return fail(http.StatusUnprocessableEntity, text)
	}
	g.apply(c, &b)
	return http.StatusOK, checkOf(*c)
}

// apply does what a request says. Annotations are appended, as GitHub does.
func (g *GitHub) apply(c *CheckRun, b *checkBody) {
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&c.Name, b.Name)
	set(&c.DetailsURL, b.DetailsURL)
	set(&c.ExternalID, b.ExternalID)
	if b.Status != "" {
		c.Status, c.Conclusion = b.Status, ""
	}
	if b.Conclusion != "" {
		c.Status, c.Conclusion = "completed", b.Conclusion
	}
	if b.StartedAt != nil {
		c.StartedAt = b.StartedAt
	}
	if b.CompletedAt != nil {
		c.CompletedAt = b.CompletedAt
	}
	if o := b.Output; o != nil {
		set(&c.Title, o.Title)
		set(&c.Summary, o.Summary)
		set(&c.Text, o.Text)
		c.Annotations = append(c.Annotations, o.Annotations...)
	}
	c.Actions = b.Actions
	c.History = append(c.History, CheckState{At: g.o.Now(), Status: c.Status, Conclusion: c.Conclusion, Title: c.Title})
}

func (g *GitHub) getCheck(r *repository) (int, any) {
	c := g.checks[r.number("id")]
	if c == nil || c.Repo != r.FullName() {
		return fail(http.StatusNotFound, "Not Found")
	}
	return http.StatusOK, checkOf(*c)
}

// listChecks answers with the newest first, and of each name only the newest
// unless filter is all.
func (g *GitHub) listChecks(r *repository) (int, any) {
	q := r.r.URL.Query()
	list := []any{}
	seen := map[string]bool{}
	ids := slices.Sorted(maps.Keys(g.checks))
	slices.Reverse(ids)
	for _, id := range ids {
		c := g.checks[id]
		switch {
		case c.Repo != r.FullName() || c.SHA != r.r.PathValue("sha"),
			q.Has("check_name") && q.Get("check_name") != c.Name,
			q.Has("app_id") && q.Get("app_id") != strconv.FormatInt(c.AppID, 10),
			q.Get("filter") != "all" && seen[c.Name]:
			continue
		}
		seen[c.Name] = true
		list = append(list, checkOf(*c))
	}
	size, err := strconv.Atoi(q.Get("per_page"))
	if err != nil {
		size = 30
	}
	return http.StatusOK, map[string]any{"total_count": len(list), "check_runs": list[:min(len(list), size)]}
}

// GitHub takes so many statuses for a commit and context.
const statusLimit = 1000

func (g *GitHub) createStatus(r *repository) (int, any) {
	var b struct {
		State       string `json:"state"`
		TargetURL   string `json:"target_url"`
		Description string `json:"description"`
		Context     string `json:"context"`
	}
	sha := r.r.PathValue("sha")
	switch {
	case !r.read(&b):
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	case !shaShape.MatchString(sha):
		return fail(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	case !slices.Contains([]string{"error", "failure", "pending", "success"}, b.State):
		return fail(http.StatusUnprocessableEntity, "state is not included in the list")
	case units(b.Description) > 140:
		return fail(http.StatusUnprocessableEntity, "description is too long (maximum is 140 characters)")
	}
	if b.Context == "" {
		b.Context = "default"
	}
	same := 0
	for _, s := range g.statuses {
		if s.Repo == r.FullName() && s.SHA == sha && strings.EqualFold(s.Context, b.Context) {
			same++
		}
	}
	if same >= statusLimit {
		return fail(http.StatusUnprocessableEntity, "This SHA and context has reached the maximum number of statuses.")
	}
	g.statuses = append(g.statuses, Status{
		At: g.o.Now(), Repo: r.FullName(), SHA: sha, State: b.State, Context: b.Context, Description: b.Description, TargetURL: b.TargetURL,
	})
	return http.StatusCreated, map[string]any{"id": g.id(), "state": b.State, "context": b.Context, "description": b.Description}
}
