package buildspec

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/specfile"
)

const (
	reservedPrefix = "CODEBUILD_"
	// optInPrefix is the part of the reserved names that users may set.
	optInPrefix = "CODEBUILD_CONFIG_"
)

var (
	shells    = []string{"sh", "bash", "dash", "ash", "zsh"}
	windows   = []string{"powershell", "pwsh", "cmd"}
	shellName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	envKeys   = []string{"shell", "variables", "parameter-store", "secrets-manager", "exported-variables", "git-credential-helper"}
)

func (p *parser) env(e specfile.Entry) {
	if p.spec.Version == "0.1" {
		p.Report(e.At, warning(CodeDeprecated, "env: version 0.1 calls this block environment_variables; it is honoured", "use version: 0.2"))
	}
	env := &p.spec.Env
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "shell":
			env.Shell = p.shell(k)
		case "variables":
			env.Variables = append(env.Variables, p.variables(k, p.envName)...)
		case "parameter-store":
			env.Parameters = p.parameters(k)
		case "secrets-manager":
			env.Secrets = p.secrets(k)
		case "exported-variables":
			p.exported(k)
		case "git-credential-helper":
			if env.GitCredentialHelper = p.Flag(k.Value, k.Path); env.GitCredentialHelper {
				p.idle(k)
			}
		default:
			p.unknown(k, envKeys...)
		}
	}
}

// oldEnv reads the block in which version 0.1 has variables.
func (p *parser) oldEnv(e specfile.Entry) {
	if p.spec.Version == "0.2" {
		p.Report(e.At, warning(CodeDeprecated, "environment_variables: version 0.2 calls this block env; it is honoured", "use env with variables"))
	}
	for _, k := range p.Map(e.Value, e.Path) {
		if k.Key == "plaintext" {
			p.spec.Env.Variables = append(p.spec.Env.Variables, p.variables(k, p.envName)...)
			continue
		}
		p.unknown(k, "plaintext")
	}
}

func (p *parser) shell(e specfile.Entry) string {
	text := strings.TrimSpace(p.text(e))
	switch {
	case text == "":
	case WindowsShell(text):
		p.Report(e.Value, warning(CodeShell, fmt.Sprintf("%s: %s is a shell of Windows images, builds run on Linux and this one will fail", e.Path, text), ""))
	case !slices.Contains(shells, shellBase(text)):
		p.bad(e.Value, e.Path, fmt.Errorf("want bash, sh, /bin/sh, powershell.exe or cmd.exe, have %q", text))
	}
	return text
}

// WindowsShell reports whether a value of env.shell is a shell of Windows
// images, which a buildspec may name and no runner has.
func WindowsShell(shell string) bool { return slices.Contains(windows, shellBase(shell)) }

func shellBase(shell string) string {
	return strings.TrimSuffix(strings.ToLower(path.Base(shell)), ".exe")
}

// variables reads a map of plaintext variables, whose values keep their source
// text; check is envName or checkName.
func (p *parser) variables(e specfile.Entry, check func(specfile.Entry)) []Variable {
	var vars []Variable
	for _, k := range p.Map(e.Value, e.Path) {
		v := Variable{Name: k.Key, Value: p.text(k), Line: k.At.Line}
		check(k)
		if strings.ContainsRune(v.Value, 0) {
			p.bad(k.Value, k.Path, errors.New("a variable can't hold a NUL character"))
		}
		if looksSecret(v.Name, v.Value) {
			v.Sensitive = true
			p.Report(k.At, warning(CodeSecret, k.Path+": the value looks like a secret in plain text", "use secrets-manager or parameter-store"))
		}
		vars = append(vars, v)
	}
	return vars
}

// envName checks a name of the env block, which may be set in one place only:
// which of two counts is not defined anywhere.
func (p *parser) envName(e specfile.Entry) {
	p.checkName(e)
	if first := p.names[e.Key]; first != nil {
		p.Errorf(e.At, specfile.CodeDuplicate, "%s: %s is set twice, in lines %d and %d", e.Path, e.Key, first.Line, e.At.Line)
		return
	}
	p.names[e.Key] = e.At
}

// checkName reports a name that a build may not set, or that no shell can read.
func (p *parser) checkName(e specfile.Entry) {
	switch {
	case e.Key == "" || strings.ContainsAny(e.Key, "=\x00\n"):
		p.Errorf(e.At, specfile.CodeValue, "%s: want the name of a variable, have %q", e.Path, e.Key)
	case strings.HasPrefix(e.Key, reservedPrefix) && !strings.HasPrefix(e.Key, optInPrefix):
		p.Report(e.At, p.known(e.Path+": names that start with CODEBUILD_ are reserved", "use another name"))
	case !shellName.MatchString(e.Key):
		p.doubtful(e.At, warning(CodeName, e.Path+": a shell can't read a variable of this name", "use letters, digits and _ only"))
	}
}

func (p *parser) parameters(e specfile.Entry) []Variable {
	var vars []Variable
	for _, k := range p.Map(e.Value, e.Path) {
		p.envName(k)
		text, ok := p.Text(k.Value, k.Path)
		if strings.TrimSpace(text) == "" && (ok || specfile.IsNull(k.Value)) {
			p.bad(k.Value, k.Path, fmt.Errorf("want the name of a parameter, have nothing"))
			continue
		}
		vars = append(vars, Variable{Name: k.Key, Value: text, Line: k.At.Line})
	}
	return vars
}

func (p *parser) secrets(e specfile.Entry) []SecretVariable {
	var vars []SecretVariable
	for _, k := range p.Map(e.Value, e.Path) {
		p.envName(k)
		text, ok := p.Text(k.Value, k.Path)
		if !ok && !specfile.IsNull(k.Value) {
			continue
		}
		ref, err := ParseSecretRef(text)
		if err != nil {
			p.bad(k.Value, k.Path, err)
			continue
		}
		vars = append(vars, SecretVariable{Name: k.Key, Secret: ref, Line: k.At.Line})
	}
	return vars
}

func (p *parser) exported(e specfile.Entry) {
	for _, item := range p.List(e.Value, e.Path) {
		if specfile.IsNull(item) {
			p.Report(item, warning(specfile.CodeEmpty, e.Path+": nothing behind the dash, the item is left out", ""))
			continue
		}
		if _, ok := p.Text(item, e.Path); ok {
			p.exportedAt = append(p.exportedAt, item)
		}
	}
}

// finishExported keeps the exported variables whose value is no secret. It
// runs when all blocks that could say so have been read.
func (p *parser) finishExported() {
	kinds := map[string]string{}
	for _, v := range p.spec.Env.Parameters {
		kinds[v.Name] = "parameter-store"
	}
	for _, v := range p.spec.Env.Secrets {
		kinds[v.Name] = "secrets-manager"
	}
	for _, item := range p.exportedAt {
		name := item.Value
		switch kind := kinds[name]; {
		case kind != "":
			p.doubtful(item, warning(CodeExport, fmt.Sprintf("env.exported-variables: %s is not exported, its value comes from %s", name, kind), ""))
		case strings.HasPrefix(name, "AWS_"):
			p.doubtful(item, warning(CodeExport, fmt.Sprintf("env.exported-variables: %s is not exported, its name starts with AWS_", name), "copy it to a variable of another name"))
		default:
			p.spec.Env.Exported = append(p.spec.Env.Exported, name)
		}
	}
}
