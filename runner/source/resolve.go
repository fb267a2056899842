package source

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/pipeline"
)

// shortest is how many digits of a commit ID name a commit.
const shortest = 7

// Resolve finds the commit that people mean by a name: a branch, a tag, a full
// ref, a commit ID, or the beginning of one that a branch or a tag points at or
// that was fetched before. "" is the repository's default branch. ref is the
// branch or tag; "" for a commit that is known without one. The order's SHA
// isn't looked at. A *pipeline.UserError: there is no such commit.
func (s *Store) Resolve(ctx context.Context, o pipeline.SourceOrder, name string) (sha, ref string, err error) {
	if objectID.MatchString(name) {
		return name, "", nil
	}
	o.SHA = strings.Repeat("0", 40)
	if err := s.check(o); err != nil {
		return "", "", err
	}
	m := newMirror(s.options, o, filepath.Join(s.options.Dir, mirrorName(o)))
	text, err := m.run(ctx, call{login: true, args: []string{"ls-remote", "--symref", "--end-of-options", o.URL}})
	if err != nil {
		return "", "", fmt.Errorf("listing the branches and tags of %s: %w", o.Repo.FullName(), err)
	}
	refs := remoteRefs(text)
	if name == "" {
		head := strings.TrimPrefix(refs["HEAD"], "ref: refs/heads/")
		name = cmp.Or(o.Repo.DefaultBranch, head)
	}
	for _, ref := range []string{name, "refs/heads/" + name, "refs/tags/" + name} {
		// Other refs, such as those of pull requests, hold what strangers wrote.
		if sha, ok := refs[ref]; ok && (strings.HasPrefix(ref, "refs/heads/") || strings.HasPrefix(ref, "refs/tags/")) {
			return sha, ref, nil
		}
	}
	if len(name) >= shortest && len(name) < 64 && strings.Trim(name, "0123456789abcdef") == "" {
		return m.abbreviated(ctx, refs, name)
	}
	return "", "", unknown(o, name, "there is no such branch or tag")
}

func unknown(o pipeline.SourceOrder, name, why string) error {
	return &pipeline.UserError{Code: codeSource, Msg: fmt.Sprintf("%s has no %.100q: %s", o.Repo.FullName(), name, why)}
}

// remoteRefs reads what ls-remote prints. HEAD is "ref: " and a branch where the
// server says which. An annotated tag stands for its commit.
func remoteRefs(text string) map[string]string {
	refs := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		sha, ref, ok := strings.Cut(line, "\t")
		if ref, peeled := strings.CutSuffix(ref, "^{}"); ok && (peeled || refs[ref] == "") {
			refs[ref] = sha
		}
	}
	return refs
}

// abbreviated finds the one commit that begins so.
func (m *mirror) abbreviated(ctx context.Context, refs map[string]string, start string) (sha, ref string, err error) {
	for name, id := range refs {
		branch := strings.HasPrefix(name, "refs/heads/")
		switch {
		case !strings.HasPrefix(id, start) || !branch && !strings.HasPrefix(name, "refs/tags/"):
		case sha != "" && sha != id:
			return "", "", unknown(m.order, start, "several commits begin so")
		case sha == "" || branch && (!strings.HasPrefix(ref, "refs/heads/") || name < ref):
			sha, ref = id, name
		}
	}
	// A mirror that isn't there yet knows none.
	text, _ := m.run(ctx, call{dir: m.dir, args: []string{"for-each-ref", "--format=%(objectname)", refPrefix}})
	for id := range strings.FieldsSeq(text) {
		switch {
		case !strings.HasPrefix(id, start) || id == sha:
		case sha != "":
			return "", "", unknown(m.order, start, "several commits begin so")
		default:
			sha = id
		}
	}
	if sha == "" {
		return "", "", unknown(m.order, start, "no branch or tag points at such a commit, and none was built; give the whole commit ID")
	}
	return sha, ref, nil
}
