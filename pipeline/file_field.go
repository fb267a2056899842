package pipeline

import (
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// fields reads what an approval asks for: NAME: default, or NAME: {type: ...}.
func (r *reader) fields(e specfile.Entry) []Field {
	var out []Field
	for i, v := range r.f.Map(e.Value, e.Path) {
		if i == maxFields {
			r.f.Errorf(v.At, specfile.CodeLimit, "%s: want at most %d", e.Path, maxFields)
			break
		}
		f := Field{Name: r.named(v.At, e.Path, variableName, ""), Type: TextField}
		if slices.Contains(approvalKeys, f.Name) {
			r.f.Errorf(v.At, spConfiguration, "%s: every approval has an output of that name", v.Path)
		}
		if v.Value.Kind == yaml.MappingNode {
			r.field(v, &f)
		} else {
			f.Default, _ = r.f.Text(v.Value, v.Path)
		}
		if why := f.Wrong(f.Default); why != "" {
			r.f.Errorf(v.Value, spConfiguration, "%s: default: %s", v.Path, why)
		}
		if f.Name != "" {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		r.f.Errorf(orKey(e), spConfiguration, "%s: want at least one", e.Path)
	}
	return out
}

func (r *reader) field(v specfile.Entry, f *Field) {
	r.keys(v.Value, v.Path, map[string]func(specfile.Entry){
		"type": func(e specfile.Entry) {
			text, _ := r.f.Text(e.Value, e.Path)
			if f.Type = FieldType(text); !slices.Contains(fieldTypes, f.Type) {
				r.f.Errorf(orKey(e), spConfiguration, "%s: want text, number, boolean or choice, have %.60q", e.Path, text)
			}
		},
		"description": func(e specfile.Entry) { f.Description, _ = r.f.Text(e.Value, e.Path) },
		"default":     func(e specfile.Entry) { f.Default, _ = r.f.Text(e.Value, e.Path) },
		"required":    func(e specfile.Entry) { f.Required = r.f.Flag(e.Value, e.Path) },
		"options": func(e specfile.Entry) {
			for i, item := range r.f.Texts(e.Value, e.Path) {
				if item.Text == "" || len([]rune(item.Text)) > maxVariableChars || i >= maxOptions || slices.Contains(f.Options, item.Text) {
					r.atItem(item, spConfiguration, "%s: want up to %d different values, have %s", indexed(e.Path, i), maxOptions, quotedText(item.Text))
					continue
				}
				f.Options = append(f.Options, item.Text)
			}
		},
	}, nil)
	if (f.Type == ChoiceField) != (len(f.Options) > 0) {
		r.f.Errorf(v.Value, spConfiguration, "%s: options go with type: choice", v.Path)
	}
}

// maxOptions bounds the values that one field chooses from.
const maxOptions = 50

var fieldTypes = []FieldType{TextField, NumberField, BooleanField, ChoiceField}

// onAbandon reads what becomes of the action's work when its execution is
// abandoned (CodePipeline reference 3.10).
func (r *reader) onAbandon(e specfile.Entry) OnAbandon {
	text, _ := r.f.Text(e.Value, e.Path)
	o := OnAbandon(text)
	if o != CancelWork && o != DetachWork {
		r.f.Errorf(orKey(e), specfile.CodeValue, "%s: want cancel or detach, have %.60q", e.Path, text)
	}
	return o
}
