package pipeline

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// kind is one type of action: the key that names it in a file.
type kind struct {
	category Category
	provider string
	in, out  [2]int // fewest and most artifacts (CodePipeline reference 1.4)
	keys     []string
	// shortest and longest are the bounds of its timeout.
	shortest, longest time.Duration
}

const (
	day         = 24 * time.Hour
	buildLimit  = 36 * time.Hour // CodeBuild's
	deployLimit = 8 * time.Hour  // CodeDeploy's, in place
	// approvalLimit is 86,400 minutes.
	approvalLimit = 60 * day
	requestLimit  = time.Hour
)

var kinds = map[string]kind{
	"build":      {BuildCat, CodeBuildProvider, [2]int{1, 5}, [2]int{0, 5}, []string{"project", "buildspec", "image", "env", "batch", "combine", "onAbandon"}, time.Minute, buildLimit},
	"test":       {Test, CodeBuildProvider, [2]int{1, 5}, [2]int{0, 5}, []string{"project", "buildspec", "image", "env", "batch", "combine", "onAbandon"}, time.Minute, buildLimit},
	"run":        {BuildCat, CommandsProvider, [2]int{1, 10}, [2]int{0, 1}, []string{"project", "commands", "image", "env", "exports", "onAbandon"}, time.Minute, buildLimit},
	"approve":    {Approval, ManualProvider, [2]int{}, [2]int{}, []string{"message", "url", "approvers", "min", "forbidAuthor", "notify", "fields", "autoRejectOnSupersede"}, 5 * time.Minute, approvalLimit},
	"codedeploy": {Deploy, CodeDeployProvider, [2]int{1, 1}, [2]int{}, []string{"application", "group", "onAbandon"}, time.Minute, deployLimit},
	"http":       {Invoke, HTTPProvider, [2]int{}, [2]int{}, []string{"url", "method", "body"}, time.Second, requestLimit},
}

// Types and keys of section 6 that nothing here acts on yet.
var (
	laterKinds = []string{"s3", "ecs", "ecs_bluegreen", "cloudformation", "beanstalk", "lambda", "stepfunctions", "eks", "helm", "kubectl", "image", "pipeline", "uses", "aws"}
	laterKeys  = []string{"secret", "secrets", "retry", "matrix", "needs", "instance", "onAbandon", "on_failure", "region", "role", "target", "files", "compute", "privileged", "cache", "wait", "before", "if", "headers", "extends", "concurrency", "environment", "soak"}
	commonKeys = []string{"order", "in", "out", "namespace", "timeout"}
)

// actionAt is an action with what the checks of the whole pipeline need.
type actionAt struct {
	stage, index int
	hook         Hook // of a rule; "" for an action
	kind         kind
	where        string
	at           *yaml.Node // the action
	in           *yaml.Node // nil: none given
	inputs       []specfile.Item
	outputs      []specfile.Item
	namespace    *yaml.Node // nil: the default
	again        bool       // its name is another one's in the stage
	texts        []text
	combine      bool
	combineAt    *yaml.Node
}

// text is a value that may name variables.
type text struct {
	value string
	where string
	at    *yaml.Node
}

func (r *reader) action(stage, order int, n *yaml.Node, entries []specfile.Entry, where string) {
	if n.Kind != yaml.MappingNode {
		return // said already
	}
	name, ok := r.kindOf(n, entries, where)
	if !ok {
		return
	}
	k := kinds[name]
	x := &actionAt{stage: stage, kind: k, where: where, at: n}
	a := Action{Category: k.category, Provider: k.provider, RunOrder: order}
	i := slices.IndexFunc(entries, func(e specfile.Entry) bool { return e.Key == name })
	a.Name = r.named(orKey(entries[i]), entries[i].Path, anyName, "")
	a.Namespace = namespaceOf(a.Name)
	for _, other := range r.p.Stages[stage].Actions {
		if a.Name != "" && other.Name == a.Name {
			r.f.Errorf(entries[i].Value, spActionTwice, "%s: another action of this stage is called %s too", where, a.Name)
			x.again = true
			break
		}
	}
	read := r.actionKeys(x, &a)
	allowed := map[string]func(specfile.Entry){name: func(specfile.Entry) {}}
	for _, key := range slices.Concat(commonKeys, k.keys) {
		allowed[key] = read[key]
	}
	r.entries(entries, allowed, laterKeys)
	r.required(&a, x, name)
	st := &r.p.Stages[stage]
	x.index = len(st.Actions)
	st.Actions = append(st.Actions, a)
	r.actions = append(r.actions, x)
}

// kindOf finds the one key that says what an action does.
func (r *reader) kindOf(n *yaml.Node, entries []specfile.Entry, where string) (string, bool) {
	var found, later []specfile.Entry
	for _, e := range entries {
		_, known := kinds[e.Key]
		switch {
		case known:
			found = append(found, e)
		case slices.Contains(laterKinds, e.Key):
			later = append(later, e)
		}
	}
	switch {
	case len(found) == 1:
		return found[0].Key, true
	case len(found) > 1:
		r.f.Errorf(found[1].At, spProvider, "%s: an action does one thing, this one has %s and %s", where, found[0].Key, found[1].Key)
	case len(later) > 0:
		r.f.Report(later[0].At, specfile.Problem{Severity: specfile.Error, Code: notSupported,
			Message: where + ": actions of type " + later[0].Key + " are not supported yet", Hint: "a run action can do it with commands"})
	default:
		r.f.Errorf(n, spProvider, "%s: want one of approve, build, codedeploy, http, run or test, which says what the action does", where)
	}
	return "", false
}

// actionKeys reads every key that some type of action has.
func (r *reader) actionKeys(x *actionAt, a *Action) map[string]func(specfile.Entry) {
	config := func(key string) func(specfile.Entry) {
		return func(e specfile.Entry) { r.config(x, a, key, e) }
	}
	return map[string]func(specfile.Entry){
		"order": func(specfile.Entry) {}, // read with the stage
		"in": func(e specfile.Entry) {
			x.in = orKey(e)
			x.inputs = r.artifacts(e)
		},
		"out": func(e specfile.Entry) { x.outputs = r.artifacts(e) },
		"namespace": func(e specfile.Entry) {
			x.namespace = orKey(e)
			a.Namespace = r.named(orKey(e), e.Path, spaceName, a.Namespace)
		},
		"timeout":               func(e specfile.Entry) { a.Timeout = r.timeout(e, x.kind.shortest, x.kind.longest) },
		"project":               config(ConfigProject),
		"buildspec":             func(e specfile.Entry) { r.config(x, a, ConfigBuildspec, e); r.repositoryPath(e) },
		"image":                 config(ConfigImage),
		"message":               config(ConfigMessage),
		"url":                   func(e specfile.Entry) { r.url(x, a, e) },
		"application":           config(ConfigApplication),
		"group":                 config(ConfigGroup),
		"method":                func(e specfile.Entry) { r.config(x, a, ConfigMethod, e); r.method(e) },
		"body":                  config(ConfigBody),
		"env":                   func(e specfile.Entry) { r.environment(x, a, e) },
		"commands":              func(e specfile.Entry) { r.commands(x, a, e) },
		"exports":               func(e specfile.Entry) { a.Exports = r.exports(e) },
		"approvers":             func(e specfile.Entry) { a.Approvers = r.approvers(e) },
		"min":                   func(e specfile.Entry) { a.Quorum = r.quorum(e) },
		"forbidAuthor":          func(e specfile.Entry) { a.ForbidAuthor = r.f.Flag(e.Value, e.Path) },
		"autoRejectOnSupersede": func(e specfile.Entry) { a.AutoReject = r.f.Flag(e.Value, e.Path) },
		"notify":                func(e specfile.Entry) { a.Notify = r.notify(x, *a, e) },
		"fields":                func(e specfile.Entry) { a.Fields = r.fields(e) },
		"onAbandon":             func(e specfile.Entry) { a.OnAbandon = r.onAbandon(e) },
		"batch":                 func(e specfile.Entry) { r.batch(x, a, e) },
		"combine":               func(e specfile.Entry) { r.combine(x, a, e) },
	}
}

// config reads a configuration value; there may be variables in it.
func (r *reader) config(x *actionAt, a *Action, key string, e specfile.Entry) {
	value, ok := r.f.Text(e.Value, e.Path)
	switch {
	case !ok && specfile.IsNull(e.Value), ok && strings.TrimSpace(value) == "":
		r.f.Errorf(orKey(e), spConfiguration, "%s: want a value, have none", e.Path)
		return
	case len(value) > 64<<10:
		r.f.Errorf(e.Value, specfile.CodeLimit, "%s: want at most 64 KiB", e.Path)
	}
	if a.Configuration == nil {
		a.Configuration = map[string]string{}
	}
	a.Configuration[key] = value
	r.text(x, value, e.Path, e.Value)
	if a.Name != "" {
		r.place(r.p.Stages[x.stage].Name, a.Name, key, e.Value)
	}
}

func (r *reader) text(x *actionAt, value, where string, at *yaml.Node) {
	x.texts = append(x.texts, text{value, where, at})
}

// required complains of what an action can't do without.
func (r *reader) required(a *Action, x *actionAt, name string) {
	miss := func(key string) {
		r.f.Errorf(x.at, spConfiguration, "%s: %s needs %s", x.where, name, key)
	}
	r.checkBatch(a, x)
	switch {
	case a.Provider == CommandsProvider && len(a.Commands) == 0:
		miss("commands")
	case a.Provider == CodeDeployProvider && a.Configuration[ConfigGroup] == "":
		miss("group")
	case a.Provider == PrometheusProvider && a.Configuration[ConfigThreshold] == "":
		miss("threshold")
	case a.Provider == HTTPProvider && a.Configuration[ConfigURL] == "":
		miss("url")
	}
}

func (r *reader) artifacts(e specfile.Entry) []specfile.Item {
	var out []specfile.Item
	for i, item := range r.f.Texts(e.Value, e.Path) {
		if !artifactName.pattern.MatchString(item.Text) {
			r.f.Report(nil, specfile.Problem{Line: item.Line, Column: item.Column, Severity: specfile.Error, Code: spName,
				Message: indexed(e.Path, i) + ": want the name of an artifact, " + artifactName.want})
			continue
		}
		out = append(out, item)
	}
	return out
}

// timeout reads 90s, 30m, 2h30m or 2d.
func (r *reader) timeout(e specfile.Entry, shortest, longest time.Duration) time.Duration {
	value, _ := r.f.Text(e.Value, e.Path)
	d, err := duration(value)
	switch {
	case err != nil:
		r.f.Errorf(orKey(e), specfile.CodeValue, "%s: want a time such as 30m, 8h or 2d, have %.60q", e.Path, value)
		return 0
	case d < shortest || d > longest:
		r.f.Errorf(e.Value, spTimeout, "%s: want %s to %s, have %s", e.Path, shortest, longest, value)
		return 0
	}
	return d
}

func duration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * day, err
	}
	return time.ParseDuration(s)
}

// repositoryPath refuses a buildspec outside the repository.
func (r *reader) repositoryPath(e specfile.Entry) {
	if name := e.Value.Value; path.IsAbs(name) || name != path.Clean(name) || name == ".." || strings.HasPrefix(name, "../") {
		r.f.Errorf(orKey(e), spConfiguration, "%s: want a path within the repository, have %.120q", e.Path, name)
	}
}

func (r *reader) url(x *actionAt, a *Action, e specfile.Entry) {
	key := ConfigURL
	if a.Provider == ManualProvider {
		key = ConfigLink
	}
	r.config(x, a, key, e)
	if v := a.Configuration[key]; v != "" && !strings.HasPrefix(v, "#{") && !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "https://") {
		r.f.Errorf(e.Value, spConfiguration, "%s: want an address that begins with https:// or http://, have %.120q", e.Path, v)
	}
}

func (r *reader) method(e specfile.Entry) {
	if !slices.Contains([]string{"", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, e.Value.Value) {
		r.f.Errorf(e.Value, spConfiguration, "%s: want GET, HEAD, POST, PUT, PATCH or DELETE, have %.60q", e.Path, e.Value.Value)
	}
}

const maxEnvironment = 100

func (r *reader) environment(x *actionAt, a *Action, e specfile.Entry) {
	for i, v := range r.f.Map(e.Value, e.Path) {
		if i == maxEnvironment {
			r.f.Errorf(v.At, specfile.CodeLimit, "%s: want at most %d variables", e.Path, maxEnvironment)
			return
		}
		value, ok := r.f.Text(v.Value, v.Path)
		if name := r.named(v.At, e.Path, envName, ""); name == "" || (!ok && !specfile.IsNull(v.Value)) {
			continue
		}
		if strings.HasPrefix(v.Key, "CODEBUILD_") || strings.HasPrefix(v.Key, "SLIPWAY_") {
			r.f.Errorf(v.At, spConfiguration, "%s: names that begin with CODEBUILD_ and SLIPWAY_ are reserved", v.Path)
			continue
		}
		if looksSecret(v.Key) && value != "" && !strings.Contains(value, "#{") {
			r.f.Warnf(v.Value, spDoubtful, "%s: this looks like a secret, and everybody who reads the repository reads it", v.Path)
		}
		if a.Environment == nil {
			a.Environment = map[string]string{}
		}
		a.Environment[v.Key] = value
		r.text(x, value, v.Path, v.Value)
	}
}

func looksSecret(name string) bool {
	return slices.ContainsFunc([]string{"SECRET", "TOKEN", "PASSWORD", "PASSWD", "PRIVATE_KEY", "API_KEY", "ACCESS_KEY"}, func(word string) bool {
		return strings.HasSuffix(strings.ToUpper(name), word)
	})
}

// AWS's limits are 50 commands of 1,000 characters on one line each.
const (
	maxCommands     = 200
	maxCommandBytes = 16 << 10
	maxExports      = 15
)

func (r *reader) commands(x *actionAt, a *Action, e specfile.Entry) {
	list := r.f.List(e.Value, e.Path)
	if len(list) > maxCommands {
		r.f.Errorf(e.Value, specfile.CodeLimit, "%s: want at most %d commands, have %d", e.Path, maxCommands, len(list))
		list = list[:maxCommands]
	}
	for i, n := range list {
		where := indexed(e.Path, i)
		value, ok := r.f.Text(n, where)
		switch {
		case !ok && !specfile.IsNull(n):
		case strings.TrimSpace(value) == "":
			r.f.Errorf(n, spConfiguration, "%s: want a command, have nothing", where)
		case len(value) > maxCommandBytes:
			r.f.Errorf(n, specfile.CodeLimit, "%s: want at most %d bytes", where, maxCommandBytes)
		default:
			a.Commands = append(a.Commands, value)
			r.text(x, value, where, n)
		}
	}
}

func (r *reader) exports(e specfile.Entry) []string {
	var out []string
	for i, item := range r.f.Texts(e.Value, e.Path) {
		problem := ""
		switch {
		case !envName.pattern.MatchString(item.Text):
			problem = "want " + envName.want
		case i == maxExports:
			problem = "want at most " + itoa(maxExports) + " exports"
		case slices.Contains(out, item.Text):
			problem = item.Text + " is exported twice"
		}
		if problem != "" {
			r.f.Report(nil, specfile.Problem{Line: item.Line, Column: item.Column, Severity: specfile.Error, Code: spConfiguration, Message: indexed(e.Path, i) + ": " + problem})
			continue
		}
		out = append(out, item.Text)
	}
	return out
}

func (r *reader) approvers(e specfile.Entry) []string {
	var out []string
	for i, item := range r.f.Texts(e.Value, e.Path) {
		if item.Text == "" || strings.ContainsAny(item.Text, " \t,;#") || strings.Count(item.Text, "/") > 1 {
			r.f.Report(nil, specfile.Problem{Line: item.Line, Column: item.Column, Severity: specfile.Error, Code: spConfiguration,
				Message: indexed(e.Path, i) + ": want a login, id:ID or org/team, have " + quotedText(item.Text)})
			continue
		}
		out = append(out, item.Text)
	}
	if len(out) == 0 {
		r.f.Errorf(orKey(e), spConfiguration, "%s: want logins or teams, have none; without approvers, whoever may write to the repository approves", e.Path)
	}
	return out
}

// quorum reads how many people an approval wants.
func (r *reader) quorum(e specfile.Entry) int {
	value, ok := r.f.Text(e.Value, e.Path)
	n, err := strconv.Atoi(value)
	if !ok || err != nil || n < 1 || n > maxQuorum {
		r.f.Errorf(orKey(e), spConfiguration, "%s: want how many people have to approve, 1 to %d, have %s", e.Path, maxQuorum, quotedText(value))
	}
	return n
}

// maxNotified bounds how many targets one approval tells.
const maxNotified = 20

// notify reads whom an approval tells; which targets there are, the server
// knows.
func (r *reader) notify(x *actionAt, a Action, e specfile.Entry) []string {
	r.place(r.p.Stages[x.stage].Name, a.Name, ConfigNotify, orKey(e))
	var out []string
	list := r.f.Texts(e.Value, e.Path)
	for i, item := range list {
		if item.Text == "" || strings.ContainsAny(item.Text, " \t,;{}") || len(item.Text) > maxPatternChars || i >= maxNotified {
			r.atItem(item, spConfiguration, "%s: want up to %d targets of the server's, such as releases or slack:#releases, have %s", indexed(e.Path, i), maxNotified, quotedText(item.Text))
			continue
		}
		out = append(out, item.Text)
	}
	if len(list) == 0 {
		r.f.Errorf(orKey(e), spConfiguration, "%s: want a target of the server's, such as releases or slack:#releases, have none", e.Path)
	}
	return out
}
