package pipeline

import (
	"fmt"
	"slices"
)

// Input is an artifact as an action takes it in.
type Input struct {
	// Name is what the pipeline calls it; the bytes may have another one.
	Name     string   `json:"name"`
	Artifact Artifact `json:"artifact,omitzero"`
	// Source means the repository at the execution's commit: there are no bytes
	// of it, it is fetched.
	Source bool `json:"source,omitempty"`
}

// BuildArtifact is what a build calls its primary artifact.
const BuildArtifact = "BuildArtifact"

// Inputs are the artifacts that an action takes in, the primary one first. A
// *UserError names one that nobody has made. In an implied pipeline those are
// left out: a build there may make none.
func (x *Execution) Inputs(stage, action string) ([]Input, error) {
	i := x.stageIndex(stage)
	if i < 0 || i >= len(x.Pipeline.Stages) {
		return nil, fmt.Errorf("execution %s has no stage %q: %w", x.ID, stage, ErrNotFound)
	}
	tasks := x.Pipeline.Stages[i].Tasks()
	j := slices.IndexFunc(tasks, func(a Action) bool { return a.Name == action })
	if j < 0 {
		return nil, fmt.Errorf("execution %s has no action %q: %w", x.ID, action, ErrNotFound)
	}
	var list []Input
	for _, name := range tasks[j].Inputs {
		in, ok := x.input(name)
		switch {
		case ok:
			list = append(list, in)
		case !x.Pipeline.Implied:
			return nil, &UserError{Code: ConfigurationError, Msg: fmt.Sprintf("the input artifact %s was not made by any action before", name)}
		}
	}
	if t := tasks[j].Task; t != nil {
		more, err := x.taskInputs(i, t)
		return append(list, more...), err
	}
	return list, nil
}

// input finds the artifact that the pipeline calls name.
func (x *Execution) input(name string) (Input, bool) {
	for i, st := range x.Pipeline.Stages {
		for j, def := range st.Actions {
			if i >= len(x.Stages) || !slices.Contains(def.Outputs, name) || x.Stages[i].Actions[j].Status != Succeeded {
				continue
			}
			if def.Category == Source && def.kind() == "" {
				return Input{Name: name, Source: true}, true
			}
			if a, ok := output(def, x.Stages[i].Actions[j].Artifacts, name); ok {
				return Input{Name: name, Artifact: a}, true
			}
		}
	}
	return Input{}, false
}

// output is what an action made under the name of one of its outputs: the
// artifact of that name, or the primary one where it has a single output.
func output(def Action, made []Artifact, name string) (Artifact, bool) {
	for _, want := range []string{name, BuildArtifact} {
		for _, a := range made {
			if a.Name == want && (want == name || len(def.Outputs) == 1) {
				return a, true
			}
		}
	}
	return Artifact{}, false
}

// lacks is the first output that a successful action should have made and
// didn't; "" if there is none.
func (x *Execution) lacks(def Action, made []Artifact) string {
	if x.Pipeline.Implied {
		return ""
	}
	for _, name := range def.Outputs {
		if _, ok := output(def, made, name); !ok {
			return name
		}
	}
	return ""
}
