package handlers

import (
	"testing"

	"github.com/slipway-ci/slipway/pipeline"
)

func TestWhyQueued(t *testing.T) {
	runner := func(slots, held int, labels ...string) Worker {
		w := Worker{Worker: pipeline.Worker{Kind: pipeline.BuildJob, Slots: slots}, Jobs: make([]string, held)}
		for _, l := range append(labels, "") {
			w.Classes = append(w.Classes, pipeline.ClassOf(pipeline.BuildJob, l, ""))
		}
		return w
	}
	agent := Worker{Worker: pipeline.Worker{Kind: pipeline.DeployJob, Slots: 9}}
	tests := []struct {
		name    string
		def     pipeline.Action
		workers []Worker
		want    string
	}{
		{"no runner", pipeline.Action{}, []Worker{agent}, "waits for a runner: none is there"},
		{"no runner with its labels", pipeline.Action{Labels: "gpu"}, []Worker{runner(2, 0), runner(1, 1)},
			"waits for a runner with the labels gpu: none of those that are there has them"},
		{"all slots are taken", pipeline.Action{Labels: "gpu"}, []Worker{runner(2, 0), runner(3, 3, "gpu")},
			"waits for a free slot: all 3 of the runners that take it are busy"},
		{"the project's limit", pipeline.Action{Concurrency: 1}, []Worker{runner(2, 1)}, "waits for its turn: the project runs at most 1 at a time"},
		{"others come first", pipeline.Action{}, []Worker{runner(2, 1)}, "waits for its turn"},
	}
	for _, tt := range tests {
		if got := whyQueued(tt.def, tt.workers); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
