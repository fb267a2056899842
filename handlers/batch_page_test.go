package handlers_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// TestBatchIsDrawn: the graph is there without JavaScript, its boxes lead to
// their builds, and stand to the right of those that they wait for.
func TestBatchIsDrawn(t *testing.T) {
	s := handlerstest.New(t, openReading)
	s.AddBatch(time.Now())
	ctx := browser(t)
	run(t, ctx, scripts(false))
	page := s.URL + "/executions/" + handlerstest.BatchExecution
	got := text(t, ctx, page)
	wants(t, "batch", got, "build-graph, 6", "compile", "race_detector_on_li…", "Failed", "Waits", "Not begun", `command "go test -race ./..." exited with code 1`)
	wants(t, "merged reports", got, "Reports of all builds", "82 tests, 79 passed, 2 failed, 1 skipped", "42 tests, 41 passed, 1 skipped")
	if strings.Contains(got, "12 lines are too long") {
		t.Error("a failure that is ignored is at the top")
	}
	type box struct {
		Title, Class, Href string
		Left               float64
	}
	boxes := get(t, ctx, chromedp.Evaluate[[]box](`Array.from(document.querySelectorAll(".node"), (n) => ({
		Title: n.querySelector("title").textContent, Class: n.getAttribute("class"),
		Href: n.querySelector("a") ? n.querySelector("a").getAttribute("href") : "", Left: n.getBoundingClientRect().left}))`))
	if len(boxes) != 6 {
		t.Fatalf("got %d boxes, want 6", len(boxes))
	}
	left := map[string]float64{}
	for _, b := range boxes {
		name, _, _ := strings.Cut(b.Title, ":")
		left[name] = b.Left
		if begun := name != "package" && name != "publish"; begun != strings.HasPrefix(b.Href, "/builds/") {
			t.Errorf("%s leads to %q", name, b.Href)
		}
	}
	if !(left["compile"] < left["unit"] && left["unit"] == left["race_detector_on_linux"] && left["unit"] < left["package"] && left["package"] < left["publish"]) {
		t.Errorf("the boxes stand at %v", left)
	}
	if n := get(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll(".edge").length`)); n != 6 {
		t.Errorf("got %d edges, want 6", n)
	}
	if screenshots != "" {
		shoot(t, ctx, "batch", page)
	}
}

// The API says of each action what it has to do with a batch.
func TestBatchInTheAPI(t *testing.T) {
	s := handlerstest.New(t, openReading)
	s.AddBatch(time.Now())
	_, body := visit(t, http.DefaultClient, request(t, "GET", s.URL+"/api/v1/executions/"+handlerstest.BatchExecution))
	var x struct {
		Stages []struct {
			Actions []struct {
				Name  string
				Batch *struct{ Kind string }
				Task  *struct {
					Batch, ID string
					DependsOn []string `json:"depends_on"`
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &x); err != nil || len(x.Stages) != 2 || len(x.Stages[1].Actions) != 7 {
		t.Fatalf("%v: %s", err, body)
	}
	all := x.Stages[1].Actions
	if all[0].Batch == nil || all[0].Batch.Kind != "build-graph" || all[0].Task != nil {
		t.Errorf("the batch: %+v", all[0])
	}
	if last := all[6]; last.Name != "Build/publish" || last.Task == nil || last.Task.ID != "publish" || last.Task.Batch != "Build" || len(last.Task.DependsOn) != 2 {
		t.Errorf("its last build: %+v", last)
	}
}
