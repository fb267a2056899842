package pipeline

import "os"

// CheckName is what the check of the execution is called, and Context its
// commit status: "slipway / web" and "slipway/web" for the pipeline web, or what
// its project says, with $CODEBUILD_WEBHOOK_TRIGGER, $CODEBUILD_WEBHOOK_EVENT
// and $CODEBUILD_BUILD_NUMBER, which is the execution's number, filled in
// (CodeBuild reference 8.3).
func (x Execution) CheckName() (check, context string) {
	if x.Pipeline.Check == "" {
		return "slipway / " + x.Pipeline.Name, "slipway/" + x.Pipeline.Name
	}
	name := os.Expand(x.Pipeline.Check, func(variable string) string {
		switch variable {
		case "CODEBUILD_WEBHOOK_TRIGGER":
			return x.Trigger.Name()
		case "CODEBUILD_WEBHOOK_EVENT":
			return x.Trigger.Event
		case "CODEBUILD_BUILD_NUMBER":
			return itoa(x.Number)
		}
		return ""
	})
	return name, name
}
