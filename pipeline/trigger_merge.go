package pipeline

import (
	"fmt"

	"github.com/slipway-ci/slipway/forge"
)

// MergeGroupEvent is the event of a trigger by a merge queue. CodeBuild has no
// word for it.
const MergeGroupEvent = "MERGE_GROUP"

// queueBranches begin the names of the branches that GitHub's merge queue makes.
const (
	queueBranches = "gh-readonly-queue/"
	githubForge   = "github"
)

// decideMergeGroup starts what checks pull requests on the commit that the queue
// would merge (forges reference 2.5). Marks that ask to skip CI don't count there
// (2.8): the queue would wait for ever. Whoever put the changes into the queue
// may write, so they are trusted as far as a pull request of the repository itself.
func decideMergeGroup(e forge.Event) Verdict {
	g := e.Merge
	if g.Gone {
		return ignored("the merge queue is done with %s", g.HeadRef)
	}
	t := baseTrigger(e, MergeGroupEvent)
	t.SHA, t.Ref, t.FetchRef, t.Before, t.Message, t.Trusted = g.HeadSHA, g.HeadRef, g.HeadRef, g.BaseSHA, g.Message, true
	return Verdict{Start: true, Trigger: t, Reason: fmt.Sprintf("merge group for %s", g.BaseRef)}
}

// Unmerged reports whether the commit is a proposal, of a pull request or in a
// merge queue, and as such no branch's to deploy.
func (t Trigger) Unmerged() bool { return t.Pull != nil || t.Event == MergeGroupEvent }
