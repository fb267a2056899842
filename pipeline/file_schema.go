package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// schema is a part of a JSON schema.
type schema = map[string]any

// FileSchema is a JSON schema (draft 7) of a pipeline file's documents, for
// editors. It says what there is; ParseFile finds more mistakes.
func FileSchema() []byte {
	top := closed(schema{
		"slipway":      schema{"const": 1, "description": "The version of the format."},
		"name":         naming(anyName, "What the pipeline is called; its check is slipway / NAME. Default: the file's name."),
		"mode":         schema{"enum": []string{"superseded", "queued", "parallel"}, "description": "What happens when executions meet at a stage. Default: superseded."},
		"supersede":    schema{"const": "approvals", "description": "A newer execution takes the place of one that only waits for an approval."},
		"variables":    schema{"type": "object", "maxProperties": maxVariables, "additionalProperties": variableSchema(), "description": "#{variables.NAME}"},
		"on":           onSchema(),
		"triggers":     onSchema(),
		"sources":      sourcesSchema(),
		"source_stage": naming(anyName, "What the first stage is called. Default: Source."),
		"stages":       schema{"type": "array", "minItems": 1, "maxItems": maxStages - 1, "items": stageSchema()},
	})
	top["$schema"], top["title"] = "http://json-schema.org/draft-07/schema#", ".slipway/*.yml: a pipeline of Slipway"
	top["required"] = []string{"slipway", "stages"}
	data, err := json.MarshalIndent(top, "", "  ")
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	return append(data, '\n')
}

// closed is a map with these keys, and those that begin with x-.
func closed(keys schema) schema {
	return schema{"type": "object", "properties": keys, "additionalProperties": false, "patternProperties": schema{"^x-": schema{}}}
}

func naming(r nameRule, description string) schema {
	return schema{"type": "string", "pattern": r.pattern.String(), "description": description}
}

func scalar() schema { return schema{"type": []string{"string", "number", "boolean", "null"}} }

func oneOrMore(item schema) schema {
	return schema{"anyOf": []schema{item, {"type": "array", "items": item}}}
}

func variableSchema() schema {
	return schema{"anyOf": []schema{scalar(), closed(schema{
		"default": scalar(), "description": schema{"type": "string"}, "required": schema{"type": "boolean"},
	})}}
}

func onSchema() schema {
	patterns := oneOrMore(schema{"type": "string", "minLength": 1, "maxLength": maxPatternChars + 1})
	events := oneOrMore(schema{"enum": []string{"open", "updated", "closed"}})
	filters := func(keys schema) schema {
		one := closed(keys)
		one["minProperties"] = 1
		return oneOrMore(one)
	}
	on := closed(schema{
		"push":         filters(schema{"branches": patterns, "tags": patterns, "paths": patterns}),
		"pull_request": filters(schema{"events": events, "branches": patterns, "paths": patterns}),
	})
	on["minProperties"], on["description"] = 1, "What starts the pipeline. Default: pushes to the source's branch."
	return on
}

func sourcesSchema() schema {
	one := schema{"anyOf": []schema{{"type": "null"}, closed(schema{"branch": schema{"type": "string", "description": "Default: the repository's default branch."}})}}
	return schema{"type": "object", "maxProperties": 1, "additionalProperties": one, "description": "This repository under a name. Default: app."}
}

func stageSchema() schema {
	action := actionSchema()
	side := closed(schema{"parallel": schema{"type": "array", "minItems": 1, "items": action}, "order": schema{"type": "integer", "minimum": 1, "maximum": 999}})
	side["required"] = []string{"parallel"}
	retry := closed(schema{"retry": schema{"enum": []string{"failed", "all"}}})
	stage := closed(schema{
		"name":        naming(anyName, "What the stage is called."),
		"environment": naming(anyName, "What the stage deploys to."),
		"actions":     schema{"type": "array", "minItems": 1, "items": schema{"anyOf": []schema{action, side}}},
		"on_failure":  schema{"anyOf": []schema{{"const": "rollback"}, retry}},
	})
	stage["required"] = []string{"name", "actions"}
	return stage
}

// actionSchema has an alternative for each type of action.
func actionSchema() schema {
	artifacts := oneOrMore(naming(artifactName, "An artifact."))
	keys := schema{
		"order": schema{"type": "integer", "minimum": 1, "maximum": 999}, "in": artifacts, "out": artifacts,
		"namespace": naming(spaceName, "Default: the action's name."),
		"timeout":   schema{"type": "string", "pattern": `^[0-9.]+(ns|us|ms|s|m|h|d)([0-9.]+(ns|us|ms|s|m|h))*$`},
		"env":       schema{"type": "object", "maxProperties": maxEnvironment, "additionalProperties": scalar()},
		"commands":  oneOrMore(schema{"type": "string"}), "exports": oneOrMore(schema{"type": "string"}), "approvers": oneOrMore(schema{"type": "string"}),
		"method": schema{"enum": []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}},
	}
	needs := map[string][]string{"run": {"commands"}, "codedeploy": {"group"}, "http": {"url"}}
	var types []schema
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[name]
		own := schema{name: naming(anyName, fmt.Sprintf("The name of the action, %s by %s.", k.category, k.provider))}
		for _, key := range slices.Concat(commonKeys, k.keys) {
			if own[key] = keys[key]; keys[key] == nil {
				own[key] = schema{"type": "string"}
			}
		}
		one := closed(own)
		one["required"] = append([]string{name}, needs[name]...)
		types = append(types, one)
	}
	return schema{"anyOf": types}
}
