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
func openSecrets(ctx context.Context, cfg config.Config, getenv func(string) string) (secrets.Sources, error) {
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
	if cfg.Secrets.AWSRegion != "" {
		a, err := secrets.NewAWS(ctx, secrets.AWSOptions{Region: cfg.Secrets.AWSRegion, Endpoint: cfg.Secrets.AWSEndpoint})
		if err != nil {
			return nil, usage(fmt.Errorf("secrets.aws_region: %w", err))
		}
		all = append(all, a)
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
	return lookUp(ctx, o.secrets, spec, append(slices.Clone(b.Variables), b.BuiltIn...), func(name string) string {
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

// lookUp finds the values of a buildspec's references. Variables in a name are
// filled in: the buildspec's own, then vars, of which the last one counts.
// refused says why a name may not be read, or nothing.
func lookUp(ctx context.Context, from secrets.Source, spec *buildspec.Spec, vars []pipeline.Variable, refused func(name string) string) ([]pipeline.StoredValue, error) {
	fill := filler(spec, vars)
	var out []pipeline.StoredValue
	add := func(v pipeline.StoredValue, ref secrets.Ref, key, missing string) error {
		ref.Name, ref.Stage, missing = fill(ref.Name), fill(ref.Stage), fill(missing)
		if v.Refused = refused(ref.Name); v.Refused == "" {
			value, err := from.Lookup(ctx, ref)
			if err == nil {
				value, err = secrets.Member(value, fill(key))
			}
			no, isNo := errors.AsType[*secrets.RefusedError](err)
			switch {
			case errors.Is(err, secrets.ErrNotFound):
				v.Refused = missing
			case isNo:
				v.Refused = fmt.Sprintf("%s: %s", ref.Name, no)
			case err != nil:
				return fmt.Errorf("looking up %q: %w", ref.Name, err)
			}
			v.Value = value
		}
		out = append(out, v)
		return nil
	}
	for _, v := range spec.Env.Parameters {
		stored := pipeline.StoredValue{Parameter: true, Ref: v.Value}
		if err := add(stored, secrets.Ref{Parameter: true, Name: v.Value}, "", "Parameter does not exist: "+v.Value); err != nil {
			return nil, err
		}
	}
	for _, v := range spec.Env.Secrets {
		s := v.Secret
		stored := pipeline.StoredValue{Ref: s.String()}
		missing := "Secrets Manager can't find the specified secret: " + stored.Ref
		if s.Stage != "" || s.VersionID != "" {
			missing += "; only AWS's store keeps other versions than the present one"
		}
		if err := add(stored, secrets.Ref{Name: s.ID, Stage: s.Stage, VersionID: s.VersionID}, s.Key, missing); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// filler puts the values of variables into a name; no store has a name with a
// dollar sign. A variable that isn't known stays as it is.
func filler(spec *buildspec.Spec, vars []pipeline.Variable) func(string) string {
	values := map[string]string{}
	for _, v := range spec.Env.Variables {
		values[v.Name] = v.Value
	}
	for _, v := range vars {
		values[v.Name] = v.Value
	}
	return func(text string) string {
		return os.Expand(text, func(name string) string {
			if value, ok := values[name]; ok {
				return value
			}
			return "${" + name + "}"
		})
	}
}

// localSecrets looks up what a folder's buildspec names in the file of --secrets,
// then in variables SLIPWAY_SECRET_NAME, then in the configuration's stores.
func (a *app) localSecrets(ctx context.Context, cfg config.Config, o localBuild, dir string, given []pipeline.Variable) ([]pipeline.StoredValue, error) {
	from := secrets.Sources{secrets.Environment{Prefix: "SLIPWAY_SECRET_", Getenv: a.getenv}}
	if o.secrets != "" {
		v, err := secrets.ReadValues(o.secrets)
		if err != nil {
			return nil, usage(fmt.Errorf("--secrets: %w", err))
		}
		from = append(secrets.Sources{v}, from...)
	}
	configured, err := openSecrets(ctx, cfg, a.getenv)
	if err != nil {
		return nil, err
	}
	from = append(from, configured...)
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
	return lookUp(ctx, from, spec, given, func(string) string { return "" })
}
