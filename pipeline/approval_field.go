package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Field is something that an approval asks for besides yes or no. What is given
// is an output variable of the action (CodePipeline reference 3.9).
type Field struct {
	Name        string    `json:"name"`
	Type        FieldType `json:"type"`
	Description string    `json:"description,omitempty"`
	Default     string    `json:"default,omitempty"`
	Required    bool      `json:"required,omitempty"`
	Options     []string  `json:"options,omitempty"` // of a ChoiceField
}

// FieldType is what may be given for a field.
type FieldType string

// The types of fields.
const (
	TextField    FieldType = "text"    // at most 1000 characters
	NumberField  FieldType = "number"  // decimal, such as 3 or -0.5
	BooleanField FieldType = "boolean" // true or false
	ChoiceField  FieldType = "choice"  // one of the options
)

// maxFields bounds the fields of one approval, as output variables of commands
// are bounded.
const maxFields = 15

// approvalKeys are what every approval exports; no field has such a name.
var approvalKeys = []string{"ApprovedBy", "Comment", "ApprovedAt"}

// Wrong says why a value isn't one of the field's type; empty: it is. No value
// is right for every type.
func (f Field) Wrong(value string) string {
	if value == "" {
		return ""
	}
	switch f.Type {
	case NumberField:
		if _, err := strconv.ParseFloat(value, 64); err != nil || strings.Trim(value, "-+.0123456789") != "" {
			return fmt.Sprintf("want a number, have %.60q", value)
		}
	case BooleanField:
		if value != "true" && value != "false" {
			return fmt.Sprintf("want true or false, have %.60q", value)
		}
	case ChoiceField:
		if !slices.Contains(f.Options, value) {
			return fmt.Sprintf("want %s, have %.60q", strings.Join(f.Options, " or "), value)
		}
	case TextField:
		if n := len([]rune(value)); n > maxVariableChars {
			return fmt.Sprintf("want at most %d characters, have %d", maxVariableChars, n)
		}
	}
	return ""
}

// Fill completes what somebody who approves gives for the fields. Who approves
// after others approves what they gave. Its error is a *Refusal.
func (p *ApprovalState) Fill(given map[string]string) (map[string]string, error) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(p.Fields, func(f Field) bool { return f.Name == name }) {
			return nil, refuse(ValidationException, "the approval has no field %.100q", name)
		}
		if value, set := p.Values[name]; set && given[name] != value {
			return nil, refuse(ValidationException, "field %s: %s approved %.60q; reject it if it has to be another value", name, p.voters(), value)
		}
	}
	if len(p.Values) > 0 || len(p.Fields) == 0 {
		return p.Values, nil
	}
	values := map[string]string{}
	for _, f := range p.Fields {
		value, said := given[f.Name]
		if !said {
			value = f.Default
		}
		if err := checkText("field "+f.Name, value, 0, maxVariableChars); err != nil {
			return nil, err
		}
		switch why := f.Wrong(value); {
		case why != "":
			return nil, refuse(ValidationException, "field %s: %s", f.Name, why)
		case f.Required && value == "":
			return nil, refuse(ValidationException, "field %s: a value is needed", f.Name)
		}
		values[f.Name] = value
	}
	return values, nil
}
