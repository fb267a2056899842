package forge

// Deployment is one deployment as a forge shows it beside the commit and on
// the page of the environment.
type Deployment struct {
	ID          int64 // the forge's; 0 before it was created
	SHA         string
	Task        string // deploy or rollback
	Environment string
	Description string
	Production  bool
	// Key is ours; it finds a deployment whose creation's answer was lost.
	Key string
	// Unsure: it may have been created although we don't know its ID, so look
	// before. The adapter sets it when an answer is lost; a caller that cannot
	// know, as after a crash, sets it too.
	Unsure bool
}

// DeploymentState is how a deployment stands.
type DeploymentState struct {
	State          string // queued, in_progress, success, failure, error, inactive
	Description    string // at most 140 characters
	LogURL         string
	EnvironmentURL string
}
