package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// MaxInstances is how many instances one deployment may have.
const MaxInstances = 1000

// GoneAfter is how long an agent must have been silent for its instance to be
// left out of new deployments (CodeDeploy reference 4.2).
const GoneAfter = 10 * time.Minute

// Matches reports whether an agent's tags are those that a group asks for: all
// keys, each with one of the values between bars, which may be patterns.
// Comparison is exact and case-sensitive (CodeDeploy reference 5.1).
func Matches(want, tags map[string]string) bool {
	for key, values := range want {
		have, ok := tags[key]
		if !ok || !slices.ContainsFunc(strings.Split(values, "|"), func(pattern string) bool {
			match, _ := path.Match(strings.TrimSpace(pattern), have)
			return match
		}) {
			return false
		}
	}
	return true
}

// Health is what is known of an agent's part in a group.
type Health struct {
	Deployment string `json:"deployment"` // the last one
	Digest     string `json:"digest"`     // of its revision
	Healthy    bool   `json:"healthy"`    // it succeeded
}

// Instances are the agents as instances of d, in the order in which they are
// deployed to: the unhealthy first, then those of an unknown, an old and the
// present revision; within a class as chance will have it, but the same for
// the same deployment (CodeDeploy reference 4.2).
func Instances(d pipeline.Deployment, agents []pipeline.Agent, known map[string]Health, target string, now time.Time) []pipeline.Instance {
	out := []pipeline.Instance{}
	for _, a := range agents {
		in := pipeline.Instance{Agent: a.Name, Tags: a.Tags, Status: pipeline.DeploymentPending}
		if now.Sub(a.SeenAt) > GoneAfter {
			in.Status = pipeline.DeploymentSkipped
			in.Error = &pipeline.DeploymentError{Code: pipeline.AgentOffline, Message: "the agent was offline when the deployment began"}
		}
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b pipeline.Instance) int {
		return cmp.Or(
			cmp.Compare(class(known[a.Agent], target), class(known[b.Agent], target)),
			cmp.Compare(chance(d.ID, a.Agent), chance(d.ID, b.Agent)),
			cmp.Compare(a.Agent, b.Agent))
	})
	return out
}

// class is an instance's place by health and revision; target is the digest of
// the group's present revision.
func class(h Health, target string) int {
	switch {
	case !h.Healthy:
		return 0
	case h.Digest == "":
		return 1
	case h.Digest != target:
		return 2
	}
	return 3
}

func chance(deployment, agent string) uint64 {
	sum := sha256.Sum256([]byte(deployment + "\x00" + agent))
	return binary.BigEndian.Uint64(sum[:])
}
