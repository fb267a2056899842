package codepipeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// action is one action, or why it can't run here.
func (m *importer) action(a value) (n *yaml.Node, why string) {
	id, c := a.get("actionTypeId"), a.get("configuration")
	name, out := word(a.get("name").text(), ".@-_"), newMap()
	read := []string{"name", "actionTypeId", "runOrder", "configuration", "inputArtifacts", "outputArtifacts", "namespace"}
	category, provider := id.get("category").text(), id.get("provider").text()
	switch {
	case provider == "CodeBuild" && category == "Test":
		out.text("test", name)
		m.codeBuild(c, out)
	case provider == "CodeBuild":
		out.text("build", name)
		m.codeBuild(c, out)
	case provider == "Commands":
		out.text("run", name)
		m.commands(a, out)
		read = append(read, "commands", "environmentVariables", "outputVariables")
	case category == "Approval":
		out.text("approve", name)
		m.approval(a, c, out)
		read = append(read, "timeoutInMinutes")
	case provider == "CodeDeploy":
		out.text("codedeploy", name)
		m.codeDeploy(c, out)
	default:
		for _, o := range a.get("outputArtifacts").list() {
			m.lost[word(o.get("name").text(), "-_")] = true
		}
		why = fmt.Sprintf("%s (%s by %s) is not supported yet", name, category, provider)
		m.note(NeedsAction, a.path, why+": write a run action for it")
		return nil, why
	}
	m.artifacts(a, c.get("PrimarySource").text(), provider, out)
	if ns := a.get("namespace").text(); ns != "" {
		out.text("namespace", ns)
	}
	m.note(Mapped, a.path, out.n.Content[0].Value+": "+name)
	a.left(read...)
	return out.n, ""
}

// codeBuild reads a build of a project.
func (m *importer) codeBuild(c value, out *mapping) {
	if p := c.get("ProjectName").text(); p != "" {
		out.text("project", p)
		m.note(NeedsAction, c.get("ProjectName").path, "set up the project "+p+" of this repository in slipway.yaml, or delete the line for the repository's buildspec.yml")
	}
	vars := c.get("EnvironmentVariables")
	var list []struct{ Name, Value, Type string }
	if text := vars.text(); text != "" {
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			m.note(NeedsAction, vars.path, "it isn't a JSON list of variables")
		}
	}
	env := newMap()
	for _, v := range list {
		m.variable(env, vars.path, v.Name, v.Value, v.Type)
	}
	if len(env.n.Content) > 0 {
		out.put("env", env.n)
	}
	for _, flag := range [][2]string{{"BatchEnabled", "batch"}, {"CombineArtifacts", "combine"}} {
		if strings.EqualFold(c.get(flag[0]).text(), "true") {
			out.put(flag[1], &yaml.Node{Kind: yaml.ScalarNode, Value: "true"})
		}
	}
	c.left("ProjectName", "PrimarySource", "EnvironmentVariables", "BatchEnabled", "CombineArtifacts")
}

func (m *importer) variable(env *mapping, path, name, text, kind string) {
	if kind != "" && kind != "PLAINTEXT" {
		m.note(NeedsAction, path, "variable "+name+" is a secret ("+kind+"): secrets of pipeline files are not supported yet, set it in the project")
		return
	}
	env.text(name, m.references(text))
}

// commands reads an action of category Compute.
func (m *importer) commands(a value, out *mapping) {
	commands := &yaml.Node{Kind: yaml.SequenceNode}
	for _, c := range a.get("commands").texts() {
		commands.Content = append(commands.Content, quoted(m.references(c)))
	}
	out.put("commands", commands)
	env, vars := newMap(), a.get("environmentVariables")
	for _, v := range vars.list() {
		m.variable(env, v.path, v.get("name").text(), v.get("value").text(), v.get("type").text())
	}
	if len(env.n.Content) > 0 {
		out.put("env", env.n)
	}
	if exports := a.get("outputVariables").texts(); len(exports) > 0 {
		out.put("exports", flow(exports))
	}
	a.get("configuration").left()
}

func (m *importer) approval(a, c value, out *mapping) {
	if text := c.get("CustomData").text(); text != "" {
		out.text("message", m.references(text))
	}
	if text := c.get("ExternalEntityLink").text(); text != "" {
		out.text("url", m.references(text))
	}
	if minutes := a.get("timeoutInMinutes").text(); minutes != "" {
		out.text("timeout", minutes+"m")
	}
	m.notify(c.get("NotificationArn"), out)
	m.note(Approximated, a.path, "whoever may write to the repository approves: name approvers for fewer")
	c.left("CustomData", "ExternalEntityLink", "NotificationArn")
}

// notify maps the topic that an approval tells. A name that the template makes
// up can't be known here.
func (m *importer) notify(topic value, out *mapping) {
	switch arn := topic.text(); {
	case arn == "":
	case strings.HasPrefix(arn, "arn:") && !strings.ContainsAny(arn, " \t,;{}"):
		out.text("notify", "sns:"+arn)
		m.note(NeedsAction, topic.path, "the server needs a notification target of that topic in slipway.yaml")
	default:
		m.note(Dropped, topic.path, "the topic isn't an ARN: name it as notify: sns:ARN")
	}
}

func (m *importer) codeDeploy(c value, out *mapping) {
	if text := c.get("ApplicationName").text(); text != "" {
		out.text("application", m.references(text))
	}
	group := m.references(c.get("DeploymentGroupName").text())
	out.text("group", group)
	m.note(NeedsAction, c.get("DeploymentGroupName").path, "set up the deployment group "+group+" for this repository in slipway.yaml")
	c.left("ApplicationName", "DeploymentGroupName")
}

// artifacts reads what an action takes in, the primary one first, and makes.
func (m *importer) artifacts(a value, primary, provider string, out *mapping) {
	var in, made []string
	for _, x := range a.get("inputArtifacts").list() {
		name := word(x.get("name").text(), "-_")
		if m.lost[name] {
			m.note(NeedsAction, x.path, "nothing here makes the artifact "+name)
			continue
		}
		in = append(in, name)
	}
	slices.SortStableFunc(in, func(x, y string) int {
		return cmp.Compare(boolean(y == primary), boolean(x == primary))
	})
	for _, x := range a.get("outputArtifacts").list() {
		made = append(made, word(x.get("name").text(), "-_"))
		if files := x.get("files"); !files.missing() {
			m.note(Approximated, files.path, "a "+provider+" action here leaves all files of its folder")
		}
	}
	out.names("in", in)
	out.names("out", made)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// references renames the namespaces of a text's variables.
func (m *importer) references(text string) string {
	for from, to := range m.spaces {
		if from != "" {
			text = strings.ReplaceAll(text, "#{"+from+".", "#{"+to+".")
		}
	}
	return text
}

// mapping is a map that keeps its order.
type mapping struct{ n *yaml.Node }

func newMap() *mapping { return &mapping{&yaml.Node{Kind: yaml.MappingNode}} }

func (m *mapping) put(key string, n *yaml.Node) {
	m.n.Content = append(m.n.Content, plain(key), n)
}

func (m *mapping) text(key, text string) { m.put(key, quoted(text)) }

// names is one name, or a list of several.
func (m *mapping) names(key string, names []string) {
	switch len(names) {
	case 0:
	case 1:
		m.text(key, names[0])
	default:
		m.put(key, flow(names))
	}
}

func plain(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// quoted is text whatever it looks like.
func quoted(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}

func number(n int) *yaml.Node { return plain(fmt.Sprint(n)) }

func flow(texts []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, t := range texts {
		n.Content = append(n.Content, quoted(t))
	}
	return n
}
