package buildspec

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// TestSchemaKnowsTheKeysOfTheParser writes a file with every key of the schema
// and asks the parser whether it knows them.
func TestSchemaKnowsTheKeysOfTheParser(t *testing.T) {
	var top schema
	if err := json.Unmarshal(Schema(), &top); err != nil {
		t.Fatal(err)
	}
	var walk func(s map[string]any, path string)
	walk = func(s map[string]any, path string) {
		properties, _ := s["properties"].(map[string]any)
		for key, sub := range properties {
			where := path + "." + key
			if sub == nil {
				t.Errorf("%s has no schema", where)
				continue
			}
			_, problems := Parse("b", []byte(nest(where+".~")), Options{})
			for _, p := range problems {
				if p.Code == specfile.CodeUnknownKey && strings.HasSuffix(p.Message, strings.ReplaceAll(strings.TrimPrefix(where, "."), ".#", "[0]")) {
					t.Errorf("the parser does not know %s: %v", where, p)
				}
			}
			walk(sub.(map[string]any), where)
		}
		if items, ok := s["items"].(map[string]any); ok {
			walk(items, path+".#")
		}
		if more, ok := s["additionalProperties"].(map[string]any); ok {
			walk(more, path+".name")
		}
	}
	walk(top, "")
}

// nest turns .a.#.b.~ into {"a": [{"b": null}]}.
func nest(path string) string {
	value := "null"
	parts := strings.Split(strings.TrimSuffix(path, ".~"), ".")
	for i := len(parts) - 1; i > 0; i-- {
		if parts[i] == "#" {
			value = "[" + value + "]"
			continue
		}
		value = fmt.Sprintf("{%q: %s}", parts[i], value)
	}
	return value
}

func TestSchemaHasTheKeysOfTheParser(t *testing.T) {
	text := string(Schema())
	for _, keys := range [][]string{topKeys, envKeys, phaseKeys, artifactKeys, cacheKeys, reportKeys, batchKeys, graphKeys, taskEnvKeys, fanoutKeys, matrixKeys, staticKeys, dynamicKeys, dynamicEnvKeys, proxyKeys, PhaseNames} {
		for _, k := range keys {
			if !strings.Contains(text, fmt.Sprintf("%q: {", k)) {
				t.Errorf("the schema has no key %s", k)
			}
		}
	}
}
