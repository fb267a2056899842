package pipeline

// Status is the state of an execution, a stage of it or an action of it,
// spelled as CodePipeline spells it (CodePipeline reference 3.1).
type Status string

// The states. Not every one applies to all three: only executions are
// Superseded, only actions Abandoned, only stages Skipped.
const (
	Pending    Status = "" // a stage or action that was not entered
	InProgress Status = "InProgress"
	Stopping   Status = "Stopping"
	Stopped    Status = "Stopped"
	Succeeded  Status = "Succeeded"
	Superseded Status = "Superseded"
	Failed     Status = "Failed"
	Cancelled  Status = "Cancelled"
	Abandoned  Status = "Abandoned"
	Skipped    Status = "Skipped"
)

// Ended reports whether nothing more happens by itself.
func (s Status) Ended() bool {
	switch s {
	case Stopped, Succeeded, Superseded, Failed, Cancelled, Abandoned, Skipped:
		return true
	case Pending, InProgress, Stopping:
		return false
	}
	return false
}

// BuildStatus is the state of a build or of one of its phases, spelled as
// CodeBuild spells it (CodeBuild reference 2.1).
type BuildStatus string

// The states of builds and phases.
const (
	BuildQueued     BuildStatus = "QUEUED" // ours: waiting for a runner
	BuildInProgress BuildStatus = "IN_PROGRESS"
	BuildSucceeded  BuildStatus = "SUCCEEDED"
	BuildFailed     BuildStatus = "FAILED"
	BuildFault      BuildStatus = "FAULT"
	BuildTimedOut   BuildStatus = "TIMED_OUT"
	BuildStopped    BuildStatus = "STOPPED"
)

// Ended reports whether the build or phase is over.
func (s BuildStatus) Ended() bool {
	switch s {
	case BuildSucceeded, BuildFailed, BuildFault, BuildTimedOut, BuildStopped:
		return true
	case BuildQueued, BuildInProgress:
		return false
	}
	return false
}

// DeploymentStatus is the state of a deployment, of an instance of it or of a
// lifecycle event, spelled as CodeDeploy spells it.
type DeploymentStatus string

// The states of deployments and lifecycle events.
const (
	DeploymentPending    DeploymentStatus = "Pending"
	DeploymentInProgress DeploymentStatus = "InProgress"
	DeploymentSucceeded  DeploymentStatus = "Succeeded"
	DeploymentFailed     DeploymentStatus = "Failed"
	DeploymentSkipped    DeploymentStatus = "Skipped"
	DeploymentStopped    DeploymentStatus = "Stopped"
)
