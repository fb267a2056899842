package pipeline

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// sourceAt is one source of a file: an action of the first stage, whose output
// artifact is called as it is.
type sourceAt struct {
	action    Action
	at        *yaml.Node
	namespace *yaml.Node // nil: the default
	origin    *yaml.Node // what it is; nil: this repository
}

// maxSources is how many actions of one run order a stage may have.
const maxSources = 50

// laterSourceKeys are those of section 6 that nothing here acts on yet.
var laterSourceKeys = []string{"image", "github", "bitbucket", "local", "codecommit", "provider", "connection", "clone", "depth", "submodules", "detect_changes"}

// sources reads where the pipeline's files come from: this repository, and
// others beside it (CodePipeline reference 6.1).
func (r *reader) sources(e specfile.Entry) {
	entries := r.f.Map(e.Value, e.Path)
	if len(entries) == 0 && !specfile.IsNull(e.Value) {
		r.f.Errorf(e.Value, specfile.CodeValue, "sources: want one, have none")
		return
	}
	own := 0
	for i, s := range entries {
		if i == maxSources {
			r.f.Errorf(s.At, specfile.CodeLimit, "sources: want at most %d", maxSources)
			return
		}
		switch x := r.sourceEntry(s); {
		case x.action.Provider != GitProvider:
			r.others = append(r.others, x)
		case own > 0:
			r.f.Report(s.At, specfile.Problem{Severity: specfile.Error, Code: spConfiguration, Message: s.Path + ": only one source is this repository",
				Hint: "say what this one is with repository, git or s3"})
		default:
			own++
			r.own, r.source.name, r.source.branch = &x, x.action.Name, x.action.Configuration[ConfigBranch]
			r.source.namespace = x.action.Namespace
		}
	}
	if own == 0 && len(entries) > 0 {
		r.f.Report(orKey(e), specfile.Problem{Severity: specfile.Error, Code: spConfiguration, Message: "sources: one of them has to be this repository",
			Hint: "add one with nothing but a branch, such as app: {branch: main}"})
	}
}

// sourceEntry reads one source. Its variables can't be a pipeline's: they are
// not known before it (CodePipeline reference 3.12).
func (r *reader) sourceEntry(s specfile.Entry) sourceAt {
	name := r.named(s.At, "sources", artifactName, DefaultSource)
	x := sourceAt{at: s.At, action: Action{Name: name, Category: Source, Provider: GitProvider, RunOrder: 1, Namespace: namespaceOf(name), Outputs: []string{name}}}
	set := map[string]string{}
	var kinds []specfile.Entry
	origin := func(provider string, read func(specfile.Entry)) func(specfile.Entry) {
		return func(e specfile.Entry) {
			kinds = append(kinds, e)
			x.action.Provider = provider
			read(e)
			x.origin = orKey(e)
		}
	}
	var branch *yaml.Node
	r.keys(s.Value, s.Path, map[string]func(specfile.Entry){
		"branch": func(e specfile.Entry) { branch = e.At; set[ConfigBranch] = r.branch(e) },
		"namespace": func(e specfile.Entry) {
			x.namespace = orKey(e)
			x.action.Namespace = r.named(orKey(e), e.Path, spaceName, x.action.Namespace)
		},
		"repository": origin(RepositoryProvider, func(e specfile.Entry) { set[ConfigRepository] = r.repository(e) }),
		"git":        origin(RepositoryProvider, func(e specfile.Entry) { set[ConfigCloneURL] = r.cloneURL(e) }),
		"s3":         origin(S3Provider, func(e specfile.Entry) { set[ConfigBucket], set[ConfigObjectKey] = r.object(e) }),
	}, laterSourceKeys)
	if len(kinds) > 1 {
		r.f.Errorf(kinds[1].At, spConfiguration, "%s: a source is one thing, this one is %s and %s", s.Path, kinds[0].Key, kinds[1].Key)
	}
	if x.action.Provider == S3Provider && branch != nil {
		r.f.Errorf(branch, spConfiguration, "%s: an object in a bucket has no branch", s.Path)
	}
	if len(set) > 0 {
		x.action.Configuration = set
	}
	return x
}

// repository reads OWNER/NAME of another repository at this one's forge.
func (r *reader) repository(e specfile.Entry) string {
	text, _ := r.f.Text(e.Value, e.Path)
	owner, name, ok := strings.Cut(text, "/")
	if !ok || !anyName.pattern.MatchString(owner) || !anyName.pattern.MatchString(name) || strings.Trim(owner, ".") == "" || strings.Trim(name, ".") == "" {
		r.f.Errorf(orKey(e), spConfiguration, "%s: want OWNER/NAME, have %.120q", e.Path, text)
		return ""
	}
	return text
}

// cloneURL reads the address of a repository that anybody may read.
func (r *reader) cloneURL(e specfile.Entry) string {
	text, _ := r.f.Text(e.Value, e.Path)
	if rest, ok := strings.CutPrefix(text, "https://"); !ok || rest == "" || strings.ContainsAny(rest, "@?# \t\\{}") {
		r.f.Errorf(orKey(e), spConfiguration, "%s: want an https address without a user or password, have %.120q", e.Path, text)
		return ""
	}
	return text
}

// object reads BUCKET/KEY.
func (r *reader) object(e specfile.Entry) (bucket, key string) {
	text, _ := r.f.Text(e.Value, e.Path)
	bucket, key, _ = strings.Cut(text, "/")
	switch {
	case !anyName.pattern.MatchString(bucket), key == "", key != path.Clean(key), strings.HasPrefix(key, "../"), strings.Contains(key, "#{"), len(key) > maxKeyBytes:
		r.f.Errorf(orKey(e), spConfiguration, "%s: want BUCKET/KEY of an object, have %.120q", e.Path, text)
		return "", ""
	case !slices.ContainsFunc(sourceArchives, func(end string) bool { return strings.HasSuffix(key, end) }):
		r.f.Errorf(orKey(e), spConfiguration, "%s: want the key of an archive, which ends in %s, have %.120q", e.Path, strings.Join(sourceArchives, ", "), key)
	}
	return bucket, key
}

// maxKeyBytes is S3's own limit.
const maxKeyBytes = 1024

var sourceArchives = []string{".zip", ".tar", ".tgz", ".tar.gz"}

// sourceStage is the stage that the sources make; this repository comes first.
func (r *reader) sourceStage() Stage {
	st := Stage{Name: r.source.stage, Actions: []Action{{
		Name: r.source.name, Category: Source, Provider: GitProvider, RunOrder: 1,
		Outputs: []string{r.source.name}, Namespace: r.source.namespace,
	}}}
	for _, x := range r.others {
		st.Actions = append(st.Actions, x.action)
		r.place(st.Name, x.action.Name, ConfigSource, x.origin)
	}
	return st
}

// isSource reports whether a source makes the artifact.
func (r *reader) isSource(artifact string) bool {
	return artifact == r.source.name || slices.ContainsFunc(r.others, func(x sourceAt) bool { return x.action.Name == artifact })
}

// sourceNamespaces adds the sources' namespaces to those that are taken.
func (r *reader) sourceNamespaces(seen map[string]string) {
	all := r.others
	if r.own != nil {
		all = append([]sourceAt{*r.own}, all...)
	} else {
		seen[r.source.namespace] = "the source"
	}
	for _, x := range all {
		a := x.action
		at := x.at
		if x.namespace != nil {
			at = x.namespace
		}
		switch other, twice := seen[a.Namespace]; {
		case slices.Contains(reservedNamespaces, a.Namespace):
			r.f.Errorf(at, spNamespace, "sources.%s: the namespace %s is reserved", a.Name, a.Namespace)
		case twice:
			r.f.Errorf(at, spNamespace, "sources.%s: the namespace %s is that of %s already", a.Name, a.Namespace, other)
		case x.namespace != nil && a.Namespace != a.Name && (r.isSource(a.Namespace) || r.isArtifact(a.Namespace)):
			r.f.Errorf(at, spNamespace, "sources.%s: the namespace %s is the name of an artifact", a.Name, a.Namespace)
		}
		seen[a.Namespace] = "source " + a.Name
	}
}

// Variables of sources beside this repository (CodePipeline reference 1.5).
var (
	repositorySourceKeys = []string{"CommitId", "CommitMessage", "RepositoryName", "FullRepositoryName", "BranchName", "AuthorDate"}
	s3SourceKeys         = []string{"VersionId", "ETag", "BucketName", "ObjectKey"}
)

// sourceReference says what is wrong with a variable of another source; known
// is false if the namespace is none's.
func (r *reader) sourceReference(namespace, key string) (code, message string, known bool) {
	for _, x := range r.others {
		switch {
		case x.action.Namespace != namespace:
			continue
		case x.action.Provider == S3Provider:
			code, message = oneOf(key, s3SourceKeys)
		default:
			code, message = oneOf(key, repositorySourceKeys)
		}
		return code, message, true
	}
	return "", "", false
}
