package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
	"github.com/slipway-ci/slipway/store/secrets"
)

// openSecrets opens the stores that the configuration names.
func openSecrets(cfg config.Config, getenv func(string) string) (secrets.Sources, error) {
	var all secrets.Sources
	if cfg.Secrets.File != "" {
		f, err := secrets.OpenFile(cfg.Secrets.File, cfg.Secrets.IdentityFile)
		if err != nil {
			return nil, usage(fmt.Errorf("secrets.file: %w", err))
		}
		all = append(all, f)
	}
	if cfg.Secrets.EnvPrefix != "" {
		all = append(all, secrets.Environment{Prefix: cfg.Secrets.EnvPrefix, Getenv: getenv})
	}
	return all, nil
}

// stored looks up what the build's buildspec names, at the commit that is to be
// built. A mistake in the file is the build's to tell. Where the project may
// read nothing, the file isn't looked at: that would be in every build's way.
func (o *orders) stored(ctx context.Context, b *pipeline.BuildOrder, p config.Project) ([]pipeline.StoredValue, error) {
	if len(p.Secrets) == 0 || !b.Trusted {
		return nil, nil
	}
	data, err := o.specOf(ctx, b)
	if _, mistake := errors.AsType[*pipeline.UserError](err); mistake || errors.Is(err, pipeline.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	spec, _ := buildspec.Parse(defaultBuildspec, data, buildspec.Options{})
	if spec == nil {
		return nil, nil
	}
	return lookUp(ctx, o.secrets, spec, func(name string) string {
		if !slices.ContainsFunc(p.Secrets, func(glob string) bool { ok, _ := doublestar.Match(glob, name); return ok }) {
			return fmt.Sprintf("this project may not read %q; the server's configuration lists what it may, in its secrets", name)
		}
		return ""
	})
}

// specOf is the text of the build's buildspec.
func (o *orders) specOf(ctx context.Context, b *pipeline.BuildOrder) ([]byte, error) {
	at, err := buildspec.ParseLocation(b.Buildspec)
	switch {
	case err != nil || at.URL != "":
		return nil, pipeline.ErrNotFound
	case at.Path != "":
		return o.files.ReadFile(ctx, b.Source, at.Path)
	}
	return []byte(at.Inline), nil
}

// lookUp finds the values of a buildspec's references; refused says why a name
// may not be read, or nothing.
func lookUp(ctx context.Context, from secrets.Source, spec *buildspec.Spec, refused func(name string) string) ([]pipeline.StoredValue, error) {
	var out []pipeline.StoredValue
	add := func(v pipeline.StoredValue, name, key, missing string) error {
		if v.Refused = refused(name); v.Refused == "" {
			value, err := from.Lookup(ctx, name)
			if err == nil {
				value, err = secrets.Member(value, key)
			}
			switch {
			case errors.Is(err, secrets.ErrNotFound):
				v.Refused = missing
			case err != nil:
				return fmt.Errorf("looking up %q: %w", name, err)
			}
			v.Value = value
		}
		out = append(out, v)
		return nil
	}
	for _, v := range spec.Env.Parameters {
		if err := add(pipeline.StoredValue{Parameter: true, Ref: v.Value}, v.Value, "", "Parameter does not exist: "+v.Value); err != nil {
			return nil, err
		}
	}
	for _, v := range spec.Env.Secrets {
		s := v.Secret
		stored := pipeline.StoredValue{Ref: s.String()}
		if s.Stage != "" && s.Stage != "AWSCURRENT" || s.VersionID != "" {
			stored.Refused = fmt.Sprintf("%s: only the present version of a secret can be read", stored.Ref)
			out = append(out, stored)
			continue
		}
		if err := add(stored, s.ID, s.Key, "Secrets Manager can't find the specified secret: "+stored.Ref); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// localSecrets looks up what a folder's buildspec names in the file of --secrets,
// then in variables SLIPWAY_SECRET_NAME.
func (a *app) localSecrets(ctx context.Context, o localBuild, dir string) ([]pipeline.StoredValue, error) {
	from := secrets.Sources{secrets.Environment{Prefix: "SLIPWAY_SECRET_", Getenv: a.getenv}}
	if o.secrets != "" {
		v, err := secrets.ReadValues(o.secrets)
		if err != nil {
			return nil, usage(fmt.Errorf("--secrets: %w", err))
		}
		from = append(secrets.Sources{v}, from...)
	}
	at, err := buildspec.ParseLocation(o.buildspec)
	data := []byte(at.Inline)
	if err == nil && at.Path != "" {
		data, err = os.ReadFile(filepath.Join(dir, filepath.FromSlash(at.Path)))
	}
	if err != nil {
		return nil, nil //nolint:nilerr // the build says what is wrong with its file
	}
	spec, _ := buildspec.Parse(defaultBuildspec, data, buildspec.Options{})
	if spec == nil {
		return nil, nil
	}
	return lookUp(ctx, from, spec, func(string) string { return "" })
}
