package buildspec

import (
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/internal/specfile"
)

var (
	matrixKeys     = []string{"static", "dynamic"}
	staticKeys     = []string{"ignore-failure", "env"}
	dynamicKeys    = []string{"buildspec", "env"}
	dynamicEnvKeys = []string{"compute-type", "image", "variables"}
)

// axis is one dimension of a matrix: what each of its values does to a task.
type axis struct {
	values []string
	set    func(t *Task, value string)
}

// matrix reads a build-matrix and returns the tasks of its product.
func (p *parser) matrix(e specfile.Entry) []Task {
	base := Task{Line: e.At.Line}
	var axes []axis
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "static":
			p.matrixStatic(k, &base)
		case "dynamic":
			axes = p.matrixDynamic(k)
		default:
			p.unknown(k, matrixKeys...)
		}
	}
	total := 1
	for _, a := range axes {
		total = min(total*len(a.values), MaxTasks+1)
	}
	if total > MaxTasks {
		p.Errorf(e.At, specfile.CodeLimit, "%s: the product has more than %d builds", e.Path, MaxTasks)
		return nil
	}
	if len(axes) == 0 {
		p.doubtful(e.At, warning(specfile.CodeMissingKey, e.Path+".dynamic: missing, the matrix has one build", ""))
	}
	return product(base, axes)
}

// product is every combination of the values, the last axis varying fastest.
func product(base Task, axes []axis) []Task {
	tasks := []Task{base}
	for _, a := range axes {
		var wider []Task
		for _, t := range tasks {
			for _, v := range a.values {
				next := t
				next.Env.Variables = slices.Clone(t.Env.Variables)
				a.set(&next, v)
				wider = append(wider, next)
			}
		}
		tasks = wider
	}
	for i := range tasks {
		tasks[i].Identifier = fmt.Sprintf("m_%d", i+1)
	}
	return tasks
}

// matrixStatic reads what all builds of a matrix have in common.
func (p *parser) matrixStatic(e specfile.Entry, base *Task) {
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "ignore-failure":
			base.IgnoreFailure = p.Flag(k.Value, k.Path)
		case "env":
			base.Env = p.taskEnv(k)
		default:
			p.unknown(k, staticKeys...)
		}
	}
}

// matrixDynamic reads the axes, in the order buildspec, compute type, image,
// variables.
func (p *parser) matrixDynamic(e specfile.Entry) []axis {
	var specs, computes, images, variables []axis
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "buildspec":
			specs = p.axis(k, func(t *Task, v string) { t.Buildspec = v })
			for _, n := range p.List(k.Value, k.Path) {
				p.buildspecPath(n, k.Path)
			}
		case "env":
			computes, images, variables = p.matrixEnv(k)
		default:
			p.unknown(k, dynamicKeys...)
		}
	}
	return slices.Concat(specs, computes, images, variables)
}

func (p *parser) matrixEnv(e specfile.Entry) (computes, images, variables []axis) {
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "compute-type":
			computes = p.axis(k, func(t *Task, v string) { t.Env.ComputeType = v })
		case "image":
			images = p.axis(k, func(t *Task, v string) { t.Env.Image = v })
		case "variables":
			for _, v := range p.Map(k.Value, k.Path) {
				p.checkName(v)
				variables = append(variables, p.axis(v, setVariable(v))...)
			}
		default:
			p.unknown(k, dynamicEnvKeys...)
		}
	}
	return computes, images, variables
}

// setVariable sets the variable, in place of a static one of the same name.
func setVariable(e specfile.Entry) func(t *Task, value string) {
	return func(t *Task, value string) {
		t.Env.Variables = slices.DeleteFunc(t.Env.Variables, func(v Variable) bool { return v.Name == e.Key })
		t.Env.Variables = append(t.Env.Variables, Variable{Name: e.Key, Value: value, Line: e.At.Line})
	}
}

// axis is the list of values at e, or none if the list is empty.
func (p *parser) axis(e specfile.Entry, set func(*Task, string)) []axis {
	a := axis{set: set}
	for _, n := range p.List(e.Value, e.Path) {
		if text, ok := p.Text(n, e.Path); ok {
			a.values = append(a.values, text)
		}
	}
	if len(a.values) == 0 {
		p.doubtful(e.At, warning(specfile.CodeEmpty, e.Path+": no values, the key is left out", ""))
		return nil
	}
	return []axis{a}
}
