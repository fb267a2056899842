package pipeline

// Environment is what the server says of something that stages deploy to;
// pipeline files have no say in it. The zero value protects nothing.
type Environment struct {
	// Approvers as forge.Named reads them; empty: the server names none.
	Approvers []string
	// PreventSelfReview keeps those who started an execution from approving it.
	PreventSelfReview bool
}

// ApproversOver are the environment's, or where the server names none those
// that the definition asks for.
func (e Environment) ApproversOver(own []string) []string {
	if len(e.Approvers) > 0 {
		return e.Approvers
	}
	return own
}

// EnvironmentOf is what a stage deploys to; empty if it names none, or isn't there.
func (p Pipeline) EnvironmentOf(stage string) string {
	for _, st := range p.Stages {
		if st.Name == stage {
			return st.Environment
		}
	}
	return ""
}
