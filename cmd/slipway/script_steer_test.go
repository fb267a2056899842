package main

import (
	"context"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-ci/slipway/pipeline"
)

// waits EXECUTION waits until the execution waits for an approval.
func waits(ts *testscript.TestScript, _ bool, args []string) {
	c := api(ts)
	waitFor(ts, "an approval of "+args[0], func() bool {
		x, err := c.Execution(context.Background(), args[0])
		return err == nil && len(x.Approvals) > 0
	})
}

// pipelineof EXECUTION sets PIPELINE to the ID of its pipeline.
func pipelineOf(ts *testscript.TestScript, _ bool, args []string) {
	x, err := api(ts).Execution(context.Background(), args[0])
	ts.Check(err)
	ts.Setenv("PIPELINE", x.PipelineID)
}

// held STAGE waits until EXECUTION stands in front of a stage of PIPELINE.
func held(ts *testscript.TestScript, _ bool, args []string) {
	c := api(ts)
	waitFor(ts, "an execution in front of "+args[0], func() bool {
		v, err := c.Pipeline(context.Background(), ts.Getenv("PIPELINE"))
		if err != nil {
			return false
		}
		for _, st := range v.Stages {
			if st.Name == args[0] {
				return len(st.Waiting) == 1 && st.Waiting[0].ID == ts.Getenv("EXECUTION")
			}
		}
		return false
	})
}

// newest waits until another execution than EXECUTION is the newest one that
// waits for an approval, and makes it EXECUTION.
func newest(ts *testscript.TestScript, _ bool, _ []string) {
	c := api(ts)
	waitFor(ts, "a newer execution", func() bool {
		page, err := c.Executions(context.Background(), pipeline.Query{Status: pipeline.InProgress, Limit: 1})
		if err != nil || len(page.Items) == 0 || page.Items[0].ID == ts.Getenv("EXECUTION") {
			return false
		}
		x, err := c.Execution(context.Background(), page.Items[0].ID)
		if err != nil || len(x.Approvals) == 0 {
			return false
		}
		ts.Setenv("EXECUTION", page.Items[0].ID)
		return true
	})
}
