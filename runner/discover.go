package runner

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
	"github.com/slipway-ci/slipway/runner/report"
)

const (
	// discoverTime and discoverEntries bound the search for report files.
	discoverTime    = 5 * time.Second
	discoverEntries = 200_000
)

// discovery is where report files are looked for that no entry of reports names
// (CodeBuild reference 6.2). CodeBuild looks unless it is told not to, and makes
// groups that nobody asked for; here one variable of the build switches it on.
type discovery struct {
	on  bool
	dir string // below the source; empty: all of it
}

// discoverSwitch is the variable; with _DIR behind it, that of the folder.
const discoverSwitch = "CODEBUILD_CONFIG_AUTO_DISCOVER"

// speaksOfDiscovery spares the shells of other builds the question.
func speaksOfDiscovery(spec []byte, variables []pipeline.Variable) bool {
	return bytes.Contains(spec, []byte(discoverSwitch)) ||
		slices.ContainsFunc(variables, func(v pipeline.Variable) bool { return v.Name == discoverSwitch })
}

// planDiscovery asks the shell, since the build may have changed its mind.
func (r *build) planDiscovery(ctx context.Context) discovery {
	if !r.discovers {
		return discovery{}
	}
	const sep = "\x1f"
	said, err := r.expand(ctx, "${"+discoverSwitch+":-}"+sep+"${"+discoverSwitch+"_DIR:-}")
	on, dir, _ := strings.Cut(said, sep)
	if err != nil || !strings.EqualFold(on, "true") {
		return discovery{}
	}
	return discovery{true, strings.TrimSuffix(dir, "/")}
}

// discover makes a plan for each format of which there are files that no other
// plan means.
func (r *build) discover(ctx context.Context, root *os.Root) []reportPlan {
	if !r.discovery.on {
		return nil
	}
	dir := cleanDir(r.inSource(r.discovery.dir))
	if !filepath.IsLocal(dir) {
		r.log.line("No reports are looked for in %s: it is not in the source", r.discovery.dir)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, discoverTime)
	defer cancel()
	found := map[buildspec.Format][]string{}
	entries := 0
	err := fs.WalkDir(root.FS(), dir, func(name string, e fs.DirEntry, err error) error {
		switch entries++; {
		case ctx.Err() != nil, entries > discoverEntries:
			r.log.line("The search for reports ends here, after %d files and folders: set %s_DIR to narrow it", entries, discoverSwitch)
			return fs.SkipAll
		case err != nil:
			return nil // what can't be looked into has no reports
		case e.IsDir() && e.Name() == ".git":
			return fs.SkipDir
		case e.Type() != 0 || r.reported[name]:
			return nil
		}
		if format, ok := detect(root, name); ok {
			found[format] = append(found[format], name)
		}
		return nil
	})
	if err != nil {
		r.Log.WarnContext(ctx, "searching for reports", "job", r.order.ID, "error", err)
	}
	var plans []reportPlan
	for _, format := range buildspec.Formats {
		if files := found[format]; len(files) > 0 {
			slices.Sort(files)
			plans = append(plans, reportPlan{
				Report: buildspec.Report{Format: format}, name: r.order.Project + "-" + string(format) + "-AutoDiscovered", discovered: files,
			})
		}
	}
	return plans
}

func cleanDir(dir string) string {
	if dir == "" {
		return "."
	}
	return path.Clean(dir)
}

func detect(root *os.Root, name string) (buildspec.Format, bool) {
	if !report.MayBe(name) {
		return "", false
	}
	f, err := root.OpenFile(name, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }() // only read from
	head := make([]byte, report.HeadBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && n == 0 {
		return "", false
	}
	return report.Detect(name, head[:n])
}
