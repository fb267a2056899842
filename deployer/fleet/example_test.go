package fleet_test

import (
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/deployer/fleet"
	"github.com/slipway-ci/slipway/pipeline"
)

// One instance at a time: the second begins when the first has succeeded.
func Example() {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	d := pipeline.Deployment{ID: "d-8F03AD5FL", Config: fleet.OneAtATime, Lease: time.Minute}
	agents := []pipeline.Agent{{Name: "web-1", SeenAt: now}, {Name: "web-2", SeenAt: now}}
	d.Instances = fleet.Instances(d, agents, nil, "", now)
	first := d.Instances[0].Agent
	for _, e := range []fleet.Event{
		{Type: fleet.Begin, At: now},
		{Type: fleet.Take, At: now, Agent: first},
		{Type: fleet.Finish, At: now, Agent: first, Fence: 1, Status: pipeline.DeploymentSucceeded},
	} {
		var err error
		if d, err = fleet.Step(d, e); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Type, d.Instances[0].Status, d.Instances[1].Status)
	}
	// Output:
	// begin InProgress Pending
	// take InProgress Pending
	// finish Succeeded InProgress
}
