package handlers

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// document is the OpenAPI description of /api/v1, made from the table of
// routes and the Go types they send, so that it can't tell anything else.
func (s *Server) document() ([]byte, error) {
	d := describer{schemas: map[string]any{}}
	problem := d.schema(reflect.TypeFor[problem]())
	paths := map[string]map[string]any{}
	for _, r := range s.api() {
		if paths[r.path] == nil {
			paths[r.path] = map[string]any{}
		}
		paths[r.path][strings.ToLower(r.method)] = d.operation(r)
	}
	return json.MarshalIndent(map[string]any{
		"openapi": "3.0.3",
		"info": map[string]any{
			"title": "Slipway", "version": "1",
			"description": "Errors are problem details (RFC 9457). Lists are paged: send next back as after.",
		},
		"servers": []any{map[string]any{"url": apiRoot}},
		"paths":   paths,
		"components": map[string]any{
			"schemas":         d.schemas,
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}},
			"responses": map[string]any{"problem": map[string]any{
				"description": "what is wrong",
				"content":     map[string]any{"application/problem+json": map[string]any{"schema": problem}},
			}},
		},
	}, "", " ")
}

func (s *Server) getOpenAPI(c *gin.Context) { c.Data(http.StatusOK, "application/json", s.openAPI) }

type describer struct{ schemas map[string]any }

func (d describer) operation(r route) map[string]any {
	answer := map[string]any{"description": http.StatusText(r.status)}
	if content := d.content(r.out); content != nil {
		if slices.Contains(r.query, followable) {
			content["text/event-stream"] = map[string]any{"schema": map[string]any{"type": "string"}}
		}
		answer["content"] = content
	}
	answers := map[string]any{strconv.Itoa(r.status): answer, "default": map[string]any{"$ref": "#/components/responses/problem"}}
	op := map[string]any{"summary": r.summary, "operationId": operationID(r), "responses": answers}
	if params := parameters(r); len(params) > 0 {
		op["parameters"] = params
	}
	if content := d.content(r.in); content != nil {
		op["requestBody"] = map[string]any{"content": content}
	}
	if r.need != open {
		op["security"] = []any{map[string]any{"token": []string{}}}
	}
	switch {
	case strings.HasSuffix(r.path, "/claim"):
		answers["204"] = map[string]any{"description": "no job came"}
	case strings.HasSuffix(r.path, "/log") && r.method == http.MethodGet:
		answers["206"] = map[string]any{"description": "the range", "content": map[string]any{"text/plain": map[string]any{"schema": map[string]any{"type": "string"}}}}
	}
	return op
}

func (d describer) content(b body) map[string]any {
	switch {
	case b.value != nil:
		return map[string]any{b.media: map[string]any{"schema": d.schema(reflect.TypeOf(b.value))}}
	case b.media == "application/json":
		return map[string]any{b.media: map[string]any{"schema": map[string]any{"type": "object"}}}
	case b.media != "":
		return map[string]any{b.media: map[string]any{"schema": map[string]any{"type": "string", "format": "binary"}}}
	}
	return nil
}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

func parameters(r route) []any {
	var out []any
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		out = append(out, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, p := range r.query {
		out = append(out, map[string]any{"name": p.name, "in": "query", "description": p.about, "schema": map[string]any{"type": p.kind}})
	}
	return out
}

// operationID is such as getExecutionsId or postRunnerClaim.
func operationID(r route) string {
	id := strings.ToLower(r.method)
	for _, word := range strings.FieldsFunc(r.path, func(c rune) bool { return strings.ContainsRune("/{}-.", c) }) {
		id += strings.ToUpper(word[:1]) + word[1:]
	}
	return id
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// schema describes a type as encoding/json writes it. A struct goes to the
// components once and is referred to.
func (d describer) schema(t reflect.Type) map[string]any {
	switch {
	case t == timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case t == rawType:
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer", "format": "int64"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string", "format": "byte"}
		}
		return map[string]any{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	}
	return map[string]any{}
}

var notName = regexp.MustCompile(`[^A-Za-z0-9]+`)

func (d describer) object(t reflect.Type) map[string]any {
	name := t.Name()
	if i := strings.LastIndexByte(name, '.'); strings.Contains(name, "[") && i >= 0 {
		name = strings.SplitN(name, "[", 2)[0] + "Of" + name[i+1:]
	}
	name = notName.ReplaceAllString(name, "")
	name = strings.ToUpper(name[:1]) + name[1:]
	ref := map[string]any{"$ref": "#/components/schemas/" + name}
	if _, done := d.schemas[name]; done {
		return ref
	}
	properties := map[string]any{}
	s := map[string]any{"type": "object", "properties": properties}
	d.schemas[name] = s
	required := d.fields(t, properties, nil)
	if len(required) > 0 {
		s["required"] = required
	}
	return ref
}

// fields adds the fields of a struct, those of embedded ones among them.
func (d describer) fields(t reflect.Type, properties map[string]any, required []string) []string {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && name == "":
			required = d.fields(f.Type, properties, required)
		case !f.IsExported(), tag == "-":
		default:
			if name == "" {
				name = f.Name
			}
			if properties[name] == nil && !strings.Contains(options, "omit") {
				required = append(required, name)
			}
			properties[name] = d.field(f.Type)
		}
	}
	return required
}

// field is the schema of a field. Go writes null for what a slice, map or
// pointer does not have.
func (d describer) field(t reflect.Type) map[string]any {
	s := d.schema(t)
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		s["nullable"] = true
	}
	return s
}
