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
		"onUpdate":     schema{"enum": []string{"continue", "cancel"}, "description": "What becomes of running executions when a newer one of their branch has another definition. Default: continue."},
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

func oneOrSome(item schema) schema {
	return schema{"anyOf": []schema{item, {"type": "array", "minItems": 1, "items": item}}}
}

func variableSchema() schema {
	return schema{"anyOf": []schema{scalar(), closed(schema{
		"default": scalar(), "description": schema{"type": "string"}, "required": schema{"type": "boolean"},
	})}}
}

func fieldSchema() schema {
	return schema{"anyOf": []schema{scalar(), closed(schema{
		"type": schema{"enum": fieldTypes}, "description": schema{"type": "string"}, "default": scalar(), "required": schema{"type": "boolean"},
		"options": schema{"type": "array", "minItems": 1, "maxItems": maxOptions, "items": scalar()},
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
	times := schema{"cron": schema{"type": "string", "description": "Minute, hour, day, month, weekday."}, "tz": schema{"type": "string", "description": "Default: UTC."}}
	on := closed(schema{
		"schedule":     filters(times),
		"comment":      oneOrSome(schema{"type": "string", "pattern": `^\^/.*\$$`, "maxLength": maxPatternChars, "description": "A regular expression for a line of a comment on a pull request. Named groups become variables."}),
		"push":         filters(schema{"branches": patterns, "tags": patterns, "paths": patterns}),
		"release":      filters(schema{"tags": patterns, "prereleases": schema{"type": "boolean", "description": "Previews, too. Default: false."}}),
		"pull_request": filters(schema{"events": events, "branches": patterns, "paths": patterns}),
	})
	on["minProperties"], on["description"] = 1, "What starts the pipeline. Default: pushes to the source's branch."
	return on
}

func sourcesSchema() schema {
	namespace := naming(spaceName, "Default: the source's name.")
	branch := schema{"type": "string", "description": "Default: the repository's default branch."}
	origin := func(keys schema, needed ...string) schema {
		one := closed(keys)
		one["required"] = needed
		return one
	}
	one := schema{"anyOf": []schema{
		{"type": "null"},
		closed(schema{"branch": branch, "namespace": namespace}),
		origin(schema{"repository": schema{"type": "string", "description": "OWNER/NAME at the same git host."}, "branch": branch, "namespace": namespace}, "repository"),
		origin(schema{"git": schema{"type": "string", "pattern": "^https://", "description": "A repository that anybody may read."}, "branch": branch, "namespace": namespace}, "git"),
		origin(schema{"s3": schema{"type": "string", "pattern": `^[^/]+/.+\.(zip|tar|tgz|tar\.gz)$`, "description": "BUCKET/KEY of an archive."}, "namespace": namespace}, "s3"),
	}}
	return schema{"type": "object", "minProperties": 1, "maxProperties": maxSources, "additionalProperties": one, "description": "This repository under a name, and others beside it. Default: app."}
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
		"before":      conditionSchema("else", "fail", "skip"),
		"on_success":  conditionSchema("else", "fail", "rollback"),
		"on_failure":  schema{"anyOf": []schema{{"const": "rollback"}, retry, conditionSchema("do", "rollback")}},
	})
	stage["required"] = []string{"name", "actions"}
	return stage
}

// conditionSchema is a condition with its checks, or a single check.
func conditionSchema(result string, results ...string) schema {
	list := closed(schema{"all": schema{"type": "array", "minItems": 1, "maxItems": maxRules, "items": checkSchema(nil)}, result: schema{"enum": results}})
	list["required"] = []string{"all"}
	return schema{"anyOf": []schema{list, checkSchema(schema{result: schema{"enum": results}})}}
}

// checkSchema has an alternative for each type of check, with more keys.
func checkSchema(more schema) schema {
	keys := actionKeysSchema()
	keys["wait"] = schema{"type": []string{"string", "boolean"}, "description": "Of a window: whether it is waited for. Else for how long it is looked at again."}
	keys["states"] = oneOrMore(schema{"enum": []string{AlarmOK, AlarmAlarm, AlarmInsufficient}})
	keys["threshold"] = schema{"type": "string", "pattern": `^\s*(<=|>=|==|!=|<|>)\s*\S+\s*$`}
	needs := map[string][]string{"run": {"commands"}, "prometheus": {"threshold"}}
	var types []schema
	for _, name := range slices.Sorted(maps.Keys(checkKinds)) {
		k := checkKinds[name]
		own := maps.Clone(more)
		if own == nil {
			own = schema{}
		}
		own[name] = schema{"type": "string", "description": "A rule by " + k.provider + "."}
		types = append(types, typeSchema(own, keys, name, append([]string{"timeout"}, k.keys...), needs[name]))
	}
	return schema{"anyOf": types}
}

// typeSchema is one type of action or check.
func typeSchema(own, keys schema, name string, allowed, needs []string) schema {
	for _, key := range allowed {
		if own[key] = keys[key]; keys[key] == nil {
			own[key] = schema{"type": "string"}
		}
	}
	one := closed(own)
	one["required"] = append([]string{name}, needs...)
	return one
}

// actionKeysSchema are the keys of actions that are no plain text.
func actionKeysSchema() schema {
	artifacts := oneOrMore(naming(artifactName, "An artifact."))
	return schema{
		"order": schema{"type": "integer", "minimum": 1, "maximum": 999}, "in": artifacts, "out": artifacts,
		"namespace": naming(spaceName, "Default: the action's name."),
		"timeout":   schema{"type": "string", "pattern": `^[0-9.]+(ns|us|ms|s|m|h|d)([0-9.]+(ns|us|ms|s|m|h))*$`},
		"env":       schema{"type": "object", "maxProperties": maxEnvironment, "additionalProperties": scalar()},
		"commands":  oneOrMore(schema{"type": "string"}), "exports": oneOrMore(schema{"type": "string"}), "approvers": oneOrMore(schema{"type": "string"}),
		"min":                   schema{"type": "integer", "minimum": 1, "maximum": maxQuorum, "description": "How many people have to approve."},
		"forbidAuthor":          schema{"type": "boolean", "description": "Whose change it is may not approve it."},
		"autoRejectOnSupersede": schema{"type": "boolean", "description": "A newer execution in front of the stage rejects it."},
		"fields":                schema{"type": "object", "minProperties": 1, "maxProperties": maxFields, "additionalProperties": fieldSchema(), "description": "What else the approval asks for: its output variables."},
		"onAbandon":             schema{"enum": []string{"cancel", "detach"}, "description": "What becomes of the work when the execution is abandoned. Default: cancel, of a deployment detach."},
		"notify":                oneOrMore(schema{"type": "string", "description": "A notification target of the server: NAME, slack:CHANNEL or sns:ARN."}),
		"batch":                 schema{"type": "boolean", "description": "Build what the batch block of the buildspec lists."},
		"combine":               schema{"type": "boolean", "description": "Make one artifact of those of the batch's builds."},
		"method":                schema{"enum": []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}},
	}
}

// actionSchema has an alternative for each type of action.
func actionSchema() schema {
	keys := actionKeysSchema()
	needs := map[string][]string{"run": {"commands"}, "codedeploy": {"group"}, "http": {"url"}}
	var types []schema
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[name]
		own := schema{name: naming(anyName, fmt.Sprintf("The name of the action, %s by %s.", k.category, k.provider))}
		types = append(types, typeSchema(own, keys, name, slices.Concat(commonKeys, k.keys), needs[name]))
	}
	return schema{"anyOf": types}
}
