package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// Load fills c from the file, if path is not empty, and then from the
// environment. An unknown key or a value that doesn't parse is an error that
// names its place.
func (c *Config) Load(path string, getenv func(string) string) error {
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading the configuration: %w", err)
		}
		if err := c.decode(data); err != nil {
			return placed(path, err)
		}
	}
	return c.environment(getenv)
}

func (c *Config) decode(data []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := d.Decode(new(Config)); !errors.Is(err, io.EOF) {
		return errors.New("want one document")
	}
	return nil
}

// placed gives the parser's complaints the form that all files' have.
func placed(path string, err error) error {
	several, ok := errors.AsType[*yaml.LoadErrors](err)
	if !ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	for _, e := range several.Errors {
		message, _, _ := strings.Cut(e.Message, " in type config.")
		if word, ok := unknownKey(message); ok {
			if near := specfile.Nearest(word, keysBelow(reflect.TypeFor[Config](), nil)); near != "" {
				message += " (did you mean " + near + "?)"
			}
		}
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", path, e.Mark.Line, max(e.Mark.Column, 1), message))
	}
	return errors.Join(errs...)
}

// unknownKey is the key that the parser's message says isn't known.
func unknownKey(message string) (string, bool) {
	word, ok := strings.CutPrefix(message, "field ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(word, " not found")
}

// keysBelow adds the keys that values of a type may have, at any depth.
func keysBelow(t reflect.Type, keys []string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keysBelow(t.Elem(), keys)
	case reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if name != "" && name != "-" && !slices.Contains(keys, name) {
				keys = keysBelow(t.Field(i).Type, append(keys, name))
			}
		}
	}
	return keys
}

// environment sets every scalar whose variable is set.
func (c *Config) environment(getenv func(string) string) error {
	var errs []error
	each(reflect.ValueOf(c).Elem(), "", func(f Field) {
		raw := getenv(f.Env)
		if f.Env == "" || raw == "" {
			return
		}
		if err := set(f.value, raw); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Env, err))
		}
	})
	return errors.Join(errs...)
}

// Field is one key of the configuration, for the reference.
type Field struct {
	Key     string // dotted
	Env     string // "" where there is none
	Doc     string
	Type    string
	Default string
	value   reflect.Value
}

// Fields are all keys with their defaults, in the order of the file.
func Fields(c Config) []Field {
	var out []Field
	each(reflect.ValueOf(&c).Elem(), "", func(f Field) {
		f.Type = f.value.Type().String()
		if f.value.Kind() != reflect.Map && f.value.Kind() != reflect.Slice {
			f.Default = fmt.Sprint(f.value.Interface())
		}
		out = append(out, f)
	})
	return out
}

func each(v reflect.Value, prefix string, do func(Field)) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		key := prefix + t.Tag.Get("yaml")
		if f.Kind() == reflect.Struct {
			each(f, key+".", do)
			continue
		}
		do(Field{Key: key, Env: t.Tag.Get("env"), Doc: t.Tag.Get("doc"), value: f})
	}
}

func set(v reflect.Value, raw string) error {
	switch v.Interface().(type) {
	case string:
		v.SetString(raw)
	case bool:
		b, err := strconv.ParseBool(raw)
		if err != nil {
			return fmt.Errorf("want true or false, have %q", raw)
		}
		v.SetBool(b)
	case time.Duration:
		d, err := time.ParseDuration(raw)
		if err != nil {
			return fmt.Errorf("want a duration such as 15s or 8h, have %q", raw)
		}
		v.SetInt(int64(d))
	case int, int64:
		n, err := strconv.ParseInt(raw, 10, 64)
		if err != nil {
			return fmt.Errorf("want a whole number, have %q", raw)
		}
		v.SetInt(n)
	}
	return nil
}

// Secrets are the values of all keys that hold one, for masking: of a list each
// element, of an address its password.
func Secrets(c Config) []string {
	var out []string
	walkSecrets(reflect.ValueOf(&c).Elem(), &out)
	return out
}

func walkSecrets(v reflect.Value, out *[]string) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		switch {
		case f.Kind() == reflect.Struct:
			walkSecrets(f, out)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			for j := range f.Len() {
				walkSecrets(f.Index(j), out)
			}
		case t.Tag.Get("secret") != "" && f.String() != "":
			*out = append(append(*out, f.String()), splitList(f.String())...)
			if u, err := url.Parse(f.String()); err == nil && u.User != nil {
				if password, ok := u.User.Password(); ok {
					*out = append(*out, password)
				}
			}
		}
	}
}
