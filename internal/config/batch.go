package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The build types of a project: what a webhook starts (CodeBuild reference
// 8.1).
const (
	// BuildTypeAuto, the default, starts a batch if the buildspec has a batch
	// block, and a build if it has none.
	BuildTypeAuto  = "auto"
	BuildTypeBuild = "build" // AWS's BUILD, and its default
	BuildTypeBatch = "batch" // AWS's BUILD_BATCH
)

// Batch bounds a project's batches (CodeBuild reference 7.4).
type Batch struct {
	// Builds is the most tasks; 0 means 100.
	Builds int `yaml:"builds"`
	// Timeout is for a batch as a whole; 0 means 8 hours.
	Timeout time.Duration `yaml:"timeout"`
	// ComputeTypes are those that tasks may name; none means all.
	ComputeTypes []string `yaml:"compute_types"`
	// CombineArtifacts makes one artifact of those of all tasks.
	CombineArtifacts bool `yaml:"combine_artifacts"`
}

// MaxBuilds is the most tasks that the batch of a project may have.
func (b Batch) MaxBuilds() int {
	if b.Builds == 0 {
		return 100
	}
	return b.Builds
}

// The bounds that AWS has for a batch's time, and we for its tasks.
const (
	batchShortest = 5 * time.Minute
	batchLongest  = 36 * time.Hour
	batchBuilds   = 1000
)

func (p Project) checkBatch(known map[string]Compute) error {
	var errs []error
	if !slices.Contains([]string{"", BuildTypeAuto, BuildTypeBuild, BuildTypeBatch}, p.BuildType) {
		errs = append(errs, fmt.Errorf("build_type: want %s, have %q", strings.Join([]string{BuildTypeAuto, BuildTypeBuild, BuildTypeBatch}, ", "), p.BuildType))
	}
	if p.Batch.Builds < 0 || p.Batch.Builds > batchBuilds {
		errs = append(errs, fmt.Errorf("batch.builds: want 1 to %d, have %d", batchBuilds, p.Batch.Builds))
	}
	if t := p.Batch.Timeout; t != 0 && (t < batchShortest || t > batchLongest) {
		errs = append(errs, fmt.Errorf("batch.timeout: want %s to %s, have %s", batchShortest, batchLongest, t))
	}
	for _, name := range p.Batch.ComputeTypes {
		if _, ok := known[name]; !ok {
			errs = append(errs, fmt.Errorf("batch.compute_types: %q is not in compute_types", name))
		}
	}
	return errors.Join(errs...)
}
