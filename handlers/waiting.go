package handlers

import (
	"context"
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/pipeline"
)

// waits say why builds of an execution haven't begun, by their IDs. A page is
// worth showing without that.
func (s *Server) waits(ctx context.Context, x pipeline.Execution) map[string]string {
	queued := map[string]pipeline.Action{}
	for _, st := range x.Stages {
		for _, a := range st.Tasks() {
			if a.Status != pipeline.InProgress || a.Job == "" || !a.StartedAt.IsZero() {
				continue
			}
			if def, _, ok := x.Task(st.Name, a.Name); ok && (def.Provider == pipeline.CodeBuildProvider || def.Provider == pipeline.CommandsProvider) {
				queued[a.Job] = def
			}
		}
	}
	if len(queued) == 0 {
		return nil
	}
	workers, err := s.Workers.Workers(ctx)
	if err != nil {
		s.Log.WarnContext(ctx, "reasons to wait left out of a page", "execution", x.ID, "error", err)
		return nil
	}
	out := map[string]string{}
	for job, def := range queued {
		out[job] = whyQueued(def, workers)
	}
	return out
}

// whyQueued says what an action's build waits for, going by the runners that
// were heard of lately.
func whyQueued(def pipeline.Action, workers []Worker) string {
	class := pipeline.ClassOf(pipeline.BuildJob, def.Labels, "")
	runners, fit, slots, held := 0, 0, 0, 0
	for _, w := range workers {
		if w.Kind != pipeline.BuildJob {
			continue
		}
		runners++
		if slices.Contains(w.Classes, class) {
			fit, slots, held = fit+1, slots+w.Slots, held+len(w.Jobs)
		}
	}
	switch {
	case runners == 0:
		return "waits for a runner: none is there"
	case fit == 0 && def.Labels == "":
		return "waits for a runner that takes builds without labels: none is there"
	case fit == 0:
		return fmt.Sprintf("waits for a runner with the labels %s: none of those that are there has them", def.Labels)
	case held >= slots:
		return fmt.Sprintf("waits for a free slot: all %d of the runners that take it are busy", slots)
	case def.Concurrency > 0:
		return fmt.Sprintf("waits for its turn: the project runs at most %d at a time", def.Concurrency)
	}
	return "waits for its turn"
}
