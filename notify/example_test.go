package notify_test

import (
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/notify"
	"github.com/slipway-ci/slipway/pipeline"
)

func ExampleRender() {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := notify.Render(pipeline.Execution{
		ID: "8a6e", Pipeline: pipeline.Pipeline{Name: "default"}, Status: pipeline.Succeeded,
		StartedAt: begin, EndedAt: begin.Add(271 * time.Second),
	}, nil, notify.RenderOptions{BaseURL: "https://ci.example.com"})
	fmt.Println(c.Name, c.Conclusion, c.Title, c.ExternalID)
	// Output: slipway / default success Passed in 4m31s 8a6e:1
}
