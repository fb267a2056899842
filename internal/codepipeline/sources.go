package codepipeline

import (
	"cmp"
	"strings"

	"github.com/slipway-ci/slipway/pipeline"
)

// branchKeys say, by provider, which setting is the branch's.
var branchKeys = map[string]string{
	"CodeStarSourceConnection": "BranchName", "CodeCommit": "BranchName", "GitHub": "Branch",
}

// sources reads the first stage: the first source in a git host is this
// repository.
func (m *importer) sources(stage value, out *mapping) (branch string) {
	for _, a := range stage.get("actions").list() {
		artifact := ""
		if list := a.get("outputArtifacts").list(); len(list) > 0 {
			artifact = word(list[0].get("name").text(), "-_")
		}
		provider := a.get("actionTypeId").get("provider").text()
		_, git := branchKeys[provider]
		one := newMap()
		switch {
		case git && m.source == "":
			m.source, m.trigger = cmp.Or(artifact, pipeline.DefaultSource), a.get("name").text()
			branch = m.ownSource(a, one)
			artifact = m.source
		case provider == "S3":
			m.object(a, one)
		case git && provider != "CodeCommit":
			m.repository(a, one)
		default:
			m.lost[artifact] = true
			m.note(NeedsAction, a.path, "a source of type "+provider+" beside the repository is not supported yet: fetch it in a run action")
			continue
		}
		out.put(artifact, one.n)
		a.left("name", "actionTypeId", "runOrder", "configuration", "outputArtifacts", "inputArtifacts", "namespace")
	}
	stage.left("name", "actions")
	return branch
}

// ownSource reads the source that is the repository with the file.
func (m *importer) ownSource(a value, out *mapping) (branch string) {
	m.spaces[a.get("namespace").text()] = m.source
	c := a.get("configuration")
	key := branchKeys[a.get("actionTypeId").get("provider").text()]
	branch = c.get(key).text()
	out.text("branch", branch)
	m.note(Mapped, a.path, "sources."+m.source+": the repository that holds the file")
	if ns := a.get("namespace"); !ns.missing() && ns.text() != m.source {
		m.note(Approximated, ns.path, "references to "+ns.text()+" became "+m.source)
	}
	for _, detect := range []string{"DetectChanges", "PollForSourceChanges"} {
		switch d := c.get(detect); strings.ToLower(d.text()) {
		case "false":
			m.note(Approximated, d.path, "without on, pushes to "+branch+" start the pipeline here")
		case "true":
			m.note(Mapped, d.path, "nothing polls: the git host's webhooks say what was pushed")
		}
	}
	m.note(NeedsAction, c.path, "put the file into the repository "+repositoryOf(c))
	c.left(key, "DetectChanges", "PollForSourceChanges", "FullRepositoryId", "RepositoryName", "Owner", "Repo")
	return branch
}

func repositoryOf(c value) string {
	if owner, name := c.get("Owner").text(), c.get("Repo").text(); owner != "" && name != "" {
		return owner + "/" + name
	}
	return cmp.Or(c.get("FullRepositoryId").text(), c.get("RepositoryName").text(), c.get("Repo").text())
}

// repository reads another repository.
func (m *importer) repository(a value, out *mapping) {
	c := a.get("configuration")
	key := branchKeys[a.get("actionTypeId").get("provider").text()]
	name := repositoryOf(c)
	out.text("repository", name)
	out.text("branch", c.get(key).text())
	m.beside(a, c, name, out)
	c.left(key, "DetectChanges", "PollForSourceChanges", "FullRepositoryId", "RepositoryName", "Owner", "Repo")
}

// object reads an archive in a bucket.
func (m *importer) object(a value, out *mapping) {
	c := a.get("configuration")
	name := c.get("S3Bucket").text() + "/" + c.get("S3ObjectKey").text()
	out.text("s3", name)
	m.beside(a, c, "s3://"+name, out)
	c.left("S3Bucket", "S3ObjectKey", "PollForSourceChanges")
}

// beside reads what all sources beside the repository have.
func (m *importer) beside(a, c value, name string, out *mapping) {
	if ns := a.get("namespace").text(); ns != "" {
		out.text("namespace", ns)
	}
	m.note(Mapped, a.path, "sources: "+name)
	m.note(NeedsAction, a.path, "list "+name+" in sources of the repository's project in slipway.yaml")
	for _, detect := range []string{"DetectChanges", "PollForSourceChanges"} {
		if d := c.get(detect); d.text() == "false" {
			m.note(Mapped, d.path, "it starts nothing here either")
			return
		}
	}
	m.note(Dropped, c.path, "a change of "+name+" starts nothing: on.schedule can look at times")
}
