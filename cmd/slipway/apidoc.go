package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/dispatch"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/store"
)

// operation is what the OpenAPI document says of one route.
type operation struct {
	Summary    string
	Parameters []struct{ Name, In, Description string }
	Security   []any
}

// writeAPI prints the routes of the API, read from the document that a server
// serves.
func writeAPI(w io.Writer) error {
	doc, err := openAPI()
	if err != nil {
		return err
	}
	var api struct {
		Servers []struct{ URL string }
		Paths   map[string]map[string]operation
	}
	if err := json.Unmarshal(doc, &api); err != nil {
		return fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	fmt.Fprint(w, apiPreface)
	var users, workers []string
	for path, operations := range api.Paths {
		for method, o := range operations {
			row := apiRow(strings.ToUpper(method), api.Servers[0].URL+path, o)
			if strings.HasPrefix(path, "/runner/") || strings.HasPrefix(path, "/agent/") {
				workers = append(workers, row)
				continue
			}
			users = append(users, row)
		}
	}
	for _, part := range []struct {
		title string
		rows  []string
	}{{"For people and scripts", users}, {"For runners and agents", workers}} {
		slices.Sort(part.rows)
		fmt.Fprintf(w, "\n## %s\n\n| route | method | what | parameters |\n| --- | --- | --- | --- |\n%s", part.title, strings.Join(part.rows, ""))
	}
	return nil
}

const apiPreface = `# The API

Made from the code by ` + "`slipway docs api`; `make generate`" + ` renews it. A running server describes
its API in full, with all types, at ` + "`/api/v1/openapi.json`" + ` (OpenAPI 3.0).

Send the admin token as ` + "`Authorization: Bearer TOKEN`" + `. Errors are problem details (RFC 9457). Lists are paged: send ` + "`next`" + `
back as ` + "`after`. `?follow=1`" + ` turns an answer into server-sent events. Routes of runners and agents take the runner token;
they may change from one version to the next.
`

func apiRow(method, path string, o operation) string {
	var params []string
	for _, p := range o.Parameters {
		if p.In == "query" {
			params = append(params, "`"+p.Name+"`: "+p.Description)
		}
	}
	what := o.Summary
	if len(o.Security) == 0 {
		what += " (no token needed)"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", path, method, what, strings.ReplaceAll(strings.Join(params, "; "), "|", `\|`))
}

// openAPI is a server's own description. The server has nothing behind it and
// is asked for nothing else.
func openAPI() ([]byte, error) {
	inbox, records := (*queue.Inbox)(nil), (*store.Store)(nil)
	s, err := handlers.New(handlers.Options{
		Inbox: inbox, Deliveries: inbox, Events: inbox, Executions: records, Boards: records, Builds: records, ReportGroups: records,
		Logs: logStore{}, Artifacts: artifactStore{}, Control: (*dispatch.Service)(nil),
	})
	if err != nil {
		return nil, err
	}
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://localhost/api/v1/openapi.json", nil))
	if answer.Code != http.StatusOK {
		return nil, fmt.Errorf("asking for the OpenAPI document: status %d", answer.Code)
	}
	return answer.Body.Bytes(), nil
}
