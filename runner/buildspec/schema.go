package buildspec

import (
	"encoding/json"
	"strings"
)

// schema is one JSON schema or a part of one.
type schema map[string]any

// Schema is a JSON schema (draft 7) of buildspec.yml for editors. It is
// stricter than Parse where Parse only warns: it knows no other keys.
func Schema() []byte {
	top := object(topKeys, schema{
		"version":   schema{"enum": []any{0.1, 0.2, "0.1", "0.2"}},
		"run-as":    text("The user that runs all phases."),
		"env":       envSchema(),
		"proxy":     object(proxyKeys, schema{"upload-artifacts": flag(), "logs": flag()}),
		"phases":    phasesSchema(),
		"artifacts": artifactsSchema(true),
		"cache":     cacheSchema(),
		"reports":   schema{"type": "object", "maxProperties": maxReports, "additionalProperties": reportSchema()},
		"batch":     batchSchema(),
	})
	top["$schema"] = "http://json-schema.org/draft-07/schema#"
	top["title"] = "buildspec.yml"
	top["required"] = []string{"version"}
	top["patternProperties"] = schema{"^x-": schema{}}
	top["properties"].(schema)["environment_variables"] = object([]string{"plaintext"}, schema{"plaintext": variablesSchema()})
	data, err := json.MarshalIndent(top, "", "  ")
	if err != nil {
		panic(err) // a tree of maps, texts and numbers always encodes
	}
	return append(data, '\n')
}

// object is a map with the given keys and no others.
func object(keys []string, properties schema) schema {
	known := schema{}
	for _, k := range keys {
		known[k] = properties[k]
	}
	return schema{"type": []string{"object", "null"}, "properties": known, "additionalProperties": false}
}

func text(description string) schema {
	return schema{"type": "string", "description": description}
}

// scalar is a value whose source text counts.
func scalar() schema { return schema{"type": []string{"string", "number", "boolean", "null"}} }

// flag is a yes or no: true and false, or the words of YAML 1.1.
func flag() schema {
	return schema{"anyOf": []schema{{"type": []string{"boolean", "null"}}, {"type": "string", "pattern": "^(?:[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"}}}
}

// list is a list of texts, or one text.
func list(description string) schema {
	return schema{"description": description, "anyOf": []schema{scalar(), {"type": "array", "items": scalar()}}}
}

func variablesSchema() schema {
	return schema{"type": []string{"object", "null"}, "additionalProperties": scalar(), "propertyNames": schema{"not": schema{"pattern": "^" + reservedPrefix + "(?!CONFIG_)"}}}
}

func envSchema() schema {
	return object(envKeys, schema{
		"shell":                 schema{"type": "string", "examples": []string{"bash", "/bin/sh", "powershell.exe", "cmd.exe"}},
		"variables":             variablesSchema(),
		"parameter-store":       variablesSchema(),
		"secrets-manager":       variablesSchema(),
		"exported-variables":    list("Names of variables handed on when the build ends."),
		"git-credential-helper": flag(),
	})
}

func phasesSchema() schema {
	phases := schema{}
	for _, name := range PhaseNames {
		phase := object(phaseKeys, schema{
			"run-as":           text("The user that runs this phase."),
			"on-failure":       schema{"type": "string", "pattern": "^([Aa][Bb][Oo][Rr][Tt]|[Cc][Oo][Nn][Tt][Ii][Nn][Uu][Ee]|[Rr][Ee][Tt][Rr][Yy](-.+)?)$"},
			"runtime-versions": schema{"type": []string{"object", "null"}, "additionalProperties": scalar()},
			"commands":         list("Each item is one command."),
			"finally":          list("Commands that run whether the phase passed or failed."),
		})
		phase["properties"].(schema)["retry-scope"] = schema{"enum": []string{"build", "phase"}}
		if name != Install {
			delete(phase["properties"].(schema), "runtime-versions")
		}
		phases[name] = phase
	}
	return object(PhaseNames, phases)
}

func artifactsSchema(primary bool) schema {
	s := object(artifactKeys, schema{
		"files":           list("Files and globs below base-directory."),
		"name":            text("May hold shell expressions."),
		"discard-paths":   flag(),
		"base-directory":  text("The folder that files are relative to."),
		"exclude-paths":   list("Globs of files to leave out."),
		"enable-symlinks": flag(),
		"s3-prefix":       text("A prefix before the build ID."),
	})
	s["required"] = []string{"files"}
	properties := s["properties"].(schema)
	delete(properties, "secondary-artifacts")
	if primary {
		properties["secondary-artifacts"] = schema{
			"type": []string{"object", "null"}, "maxProperties": maxSecondary,
			"propertyNames": schema{"pattern": identifier.String()}, "additionalProperties": artifactsSchema(false),
		}
	}
	return s
}

func cacheSchema() schema {
	keys := list("Prefixes of other keys, tried in order.")
	keys["maxItems"] = maxFallbackKeys
	return object(cacheKeys, schema{
		"key":             text("May hold shell expressions."),
		"fallback-keys":   keys,
		"action":          schema{"enum": []CacheAction{Restore, Save}},
		"paths":           list("Globs, absolute or below the source."),
		"save-on-failure": flag(),
	})
}

func reportSchema() schema {
	var names []string
	for _, f := range Formats {
		names = append(names, anyCase(string(f)))
	}
	s := object(reportKeys, schema{
		"files":          list("Globs of report files."),
		"file-format":    schema{"type": "string", "pattern": "^(" + strings.Join(names, "|") + ")$", "examples": Formats},
		"base-directory": text("The folder that files are relative to."),
		"discard-paths":  flag(),
		"fail-on":        list("failed, error or coverage<percent."),
	})
	s["required"] = []string{"files"}
	return s
}

// anyCase is a pattern for word in any case: JSON schema has no flags.
func anyCase(word string) string {
	var b strings.Builder
	for _, r := range word {
		if r >= 'A' && r <= 'Z' {
			b.WriteString("[" + string(r) + strings.ToLower(string(r)) + "]")
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func batchSchema() schema {
	return object(batchKeys, schema{
		"fast-fail":    flag(),
		string(List):   tasksSchema(taskKeys),
		string(Graph):  tasksSchema(graphKeys),
		string(Matrix): matrixSchema(),
		string(Fanout): object(fanoutKeys, schema{"parallelism": schema{"type": "integer", "minimum": 1, "maximum": MaxTasks}, "ignore-failure": flag()}),
	})
}

func tasksSchema(keys []string) schema {
	task := object(keys, schema{
		"identifier":      schema{"type": "string", "pattern": identifier.String()},
		"buildspec":       text("Another buildspec, below the source root."),
		"depend-on":       list("Identifiers of tasks that must have ended."),
		"debug-session":   flag(),
		"ignore-failure":  flag(),
		"env":             taskEnvSchema(),
		"needs-artifacts": list("Identifiers of tasks whose artifacts this task gets."),
	})
	task["required"] = []string{"identifier"}
	return schema{"type": []string{"array", "null"}, "maxItems": MaxTasks, "items": task}
}

func taskEnvSchema() schema {
	return object(taskEnvKeys, schema{
		"compute-type": text("Not together with fleet."), "fleet": text("Not together with compute-type."),
		"image": text("The image to build in."), "type": text("The environment type."),
		"privileged-mode": flag(), "variables": variablesSchema(),
	})
}

func matrixSchema() schema {
	return object(matrixKeys, schema{
		"static": object(staticKeys, schema{"ignore-failure": flag(), "env": taskEnvSchema()}),
		"dynamic": object(dynamicKeys, schema{
			"buildspec": list("Buildspecs to build with."),
			"env": object(dynamicEnvKeys, schema{
				"compute-type": list("Compute types to build on."),
				"image":        list("Images to build in."),
				"variables":    schema{"type": []string{"object", "null"}, "additionalProperties": list("Values of the variable.")},
			}),
		}),
	})
}
