package forgetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// spec checks requests against an OpenAPI description. Paths are matched here,
// because the library's routers do not let {path} hold a slash.
type spec struct {
	doc *openapi3.T
}

// loaded holds the descriptions by file: reading one takes longer than most
// tests.
var loaded sync.Map

// loadSpec reads a description; patch, if not nil, mends what is wrong with it.
func loadSpec(file string, patch func(*openapi3.T)) (*spec, error) {
	if s, ok := loaded.Load(file); ok {
		return s.(*spec), nil
	}
	doc, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", file, err)
	}
	if patch != nil {
		patch(doc)
	}
	s, _ := loaded.LoadOrStore(file, &spec{doc: doc})
	return s.(*spec), nil
}

// check says what is wrong with a request.
func (s *spec) check(r *http.Request, body []byte) error {
	route, params := s.route(r)
	if route == nil {
		return errors.New("no such operation")
	}
	copied := r.Clone(r.Context())
	copied.Body = io.NopCloser(bytes.NewReader(body))
	return openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: copied, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, MultiError: true},
	})
}

// route is the operation with the most literal path that matches.
func (s *spec) route(r *http.Request) (*routers.Route, map[string]string) {
	given := strings.Split(r.URL.EscapedPath(), "/")
	var best *routers.Route
	var bestParams map[string]string
	literals := -1
	for path, item := range s.doc.Paths.Map() {
		op := item.GetOperation(r.Method)
		if op == nil {
			continue
		}
		pattern := strings.Split(path, "/")
		params, ok := match(pattern, given, multiSegment(op))
		if n := len(pattern) - len(params); ok && n > literals {
			literals = n
			best = &routers.Route{Spec: s.doc, Path: path, PathItem: item, Method: r.Method, Operation: op}
			bestParams = params
		}
	}
	return best, bestParams
}

// multiSegment is the parameter whose value may have slashes; empty: none.
func multiSegment(op *openapi3.Operation) string {
	for _, p := range op.Parameters {
		if p.Value != nil && p.Value.Extensions["x-multi-segment"] != nil {
			return p.Value.Name
		}
	}
	return ""
}

func match(pattern, given []string, multi string) (map[string]string, bool) {
	params := map[string]string{}
	for i, want := range pattern {
		name, isParam := strings.CutPrefix(want, "{")
		name, whole := strings.CutSuffix(name, "}")
		isParam = isParam && whole // {id}.diff is another operation's
		switch {
		case i >= len(given):
			return nil, false
		case isParam && name == multi && i == len(pattern)-1:
			params[name] = unescape(strings.Join(given[i:], "/"))
			return params, true
		case isParam:
			params[name] = unescape(given[i])
		case want != given[i]:
			return nil, false
		}
	}
	return params, len(pattern) == len(given)
}

func unescape(s string) string {
	if text, err := url.PathUnescape(s); err == nil {
		return text
	}
	return s
}
