package appspec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// services are the resource types that are deployed without an agent, with
// the properties that they need and the hooks that they know (CodeDeploy
// reference 7; its own template calls CurrentVersion optional). Keys are accepted
// in any case, as both cases are in use.
var services = map[string]struct {
	kind     Kind
	required []string
	hooks    []string
}{
	"AWS::ECS::Service": {ECS, []string{"TaskDefinition", "LoadBalancerInfo"},
		[]string{"BeforeInstall", "AfterInstall", "AfterAllowTestTraffic", "BeforeAllowTraffic", "AfterAllowTraffic"}},
	"AWS::Lambda::Function": {Lambda, []string{"Name", "Alias", "TargetVersion"},
		[]string{"BeforeAllowTraffic", "AfterAllowTraffic"}},
}

// field finds a key in any case.
func field(entries []specfile.Entry, key string) (specfile.Entry, bool) {
	for _, e := range entries {
		if strings.EqualFold(e.Key, key) {
			return e, true
		}
	}
	return specfile.Entry{}, false
}

// service reads a file for ECS or Lambda.
func (p *parser) service(entries []specfile.Entry) {
	p.serviceVersion(entries)
	resources, _ := field(entries, "resources")
	kind := p.resources(resources)
	for _, e := range entries {
		switch {
		case strings.EqualFold(e.Key, "version"), strings.EqualFold(e.Key, "resources"):
		case strings.EqualFold(e.Key, "hooks"):
			p.serviceHooks(e, kind)
		case slices.Contains(topKeys, e.Key):
			p.Warnf(e.At, "APPSPEC_KIND", "%s is for servers, the Resources in line %d for ECS or Lambda: it is ignored", e.Key, resources.At.Line)
		default:
			p.Unknown(e, []string{"version", "Resources", "Hooks"})
		}
	}
}

// serviceVersion wants 0.0; files with another number are in use and work.
func (p *parser) serviceVersion(entries []specfile.Entry) {
	e, _ := field(entries, "version")
	text, ok := p.Text(e.Value, "version")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	switch {
	case !ok || err != nil:
		p.Errorf(e.Value, "APPSPEC_VERSION", "invalid version %q: want 0.0", text)
	case v != 0:
		p.Warnf(e.Value, "APPSPEC_VERSION", "version %s: want 0.0", text)
	}
}

func (p *parser) resources(e specfile.Entry) Kind {
	items := p.list(e.Value, e.Key, "RESOURCES_SHAPE", "write - <name>: below it")
	if len(items) != 1 {
		if specfile.IsNull(e.Value) || e.Value.Kind == yaml.SequenceNode {
			p.Errorf(e.At, "RESOURCES_COUNT", "%s: want exactly one resource, have %d", e.Key, len(items))
		}
		return ""
	}
	where := e.Key + "[0]"
	named := p.Map(items[0], where)
	if len(named) != 1 {
		p.report(items[0], specfile.Error, "RESOURCES_SHAPE", fmt.Sprintf("%s: want one key, the name of the resource, have %d keys", where, len(named)), "indent Type and Properties below the name")
		return ""
	}
	return p.resource(named[0])
}

func (p *parser) resource(e specfile.Entry) Kind {
	body := p.Map(e.Value, e.Path)
	t, _ := field(body, "type")
	text, _ := p.Text(t.Value, e.Path+".Type")
	service, known := services[strings.TrimSpace(text)]
	if !known {
		at := t.Value
		if at == nil {
			at = e.At
		}
		p.Errorf(at, "RESOURCES_TYPE", "%s.Type: unsupported type %q: want AWS::ECS::Service or AWS::Lambda::Function", e.Path, text)
		return ""
	}
	p.spec.Kind = service.kind
	properties, has := field(body, "properties")
	if !has {
		properties = e
	}
	values := p.Map(properties.Value, properties.Path)
	p.require(properties, values, service.required...)
	if balancer, has := field(values, "LoadBalancerInfo"); has && service.kind == ECS && !specfile.IsNull(balancer.Value) {
		p.require(balancer, p.Map(balancer.Value, balancer.Path), "ContainerName", "ContainerPort")
	}
	return service.kind
}

// require reports the keys that are missing or empty.
func (p *parser) require(of specfile.Entry, entries []specfile.Entry, keys ...string) {
	for _, key := range keys {
		if e, has := field(entries, key); !has || specfile.IsNull(e.Value) {
			p.Errorf(of.At, "RESOURCES_PROPERTY", "%s: %s is missing", of.Path, key)
		}
	}
}

func (p *parser) serviceHooks(e specfile.Entry, kind Kind) {
	var known []string
	for _, s := range services {
		if s.kind == kind {
			known = s.hooks
		}
	}
	for i, item := range p.list(e.Value, e.Key, "HOOK_SHAPE", "start each hook with a dash") {
		for _, hook := range p.Map(item, fmt.Sprintf("%s[%d]", e.Key, i)) {
			p.Text(hook.Value, hook.Path)
			if kind != "" && !slices.Contains(known, hook.Key) {
				p.unknown(hook, "HOOK_UNKNOWN", "unknown lifecycle event "+hook.Key, known)
			}
		}
	}
}
