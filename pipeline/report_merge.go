package pipeline

import "slices"

// shownBad is how many of the cases that failed a merged report names.
const shownBad = 20

// Merge adds the report of the same group by another task of a batch: counts
// and coverage are summed, the longest time counts, and a failure in one is one
// of all (CodeBuild reference 7.3, reports of a fanout).
func (r *Report) Merge(other Report) {
	switch {
	case r.Status == ReportFailed || other.Status == ReportFailed:
		r.Status = ReportFailed
	case other.Status == ReportIncomplete:
		r.Status = ReportIncomplete
	}
	r.Files += other.Files
	r.Total += other.Total
	r.Passed += other.Passed
	r.Failed += other.Failed
	r.Errors += other.Errors
	r.Skipped += other.Skipped
	r.Unknown += other.Unknown
	r.Duration = max(r.Duration, other.Duration)
	r.Lines.Add(other.Lines)
	r.Branches.Add(other.Branches)
	// Each task's report was compared with all of the batch before.
	r.Before = Coverage{}
	r.NewBad += other.NewBad
	r.Flaky += other.Flaky
	r.Truncated = r.Truncated || other.Truncated
	r.Problems = slices.Concat(r.Problems, other.Problems)
	r.ProblemCount += other.ProblemCount
	r.BadKeys = union(r.BadKeys, other.BadKeys)
	r.NewKeys = union(r.NewKeys, other.NewKeys)
	r.FlakyKeys = union(r.FlakyKeys, other.FlakyKeys)
	r.Bad = slices.Concat(r.Bad, other.Bad)
	r.Bad = r.Bad[:min(shownBad, len(r.Bad))]
	r.Stored = nil
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, key := range b {
		if len(all) < maxBadKeys && !slices.Contains(all, key) {
			all = append(all, key)
		}
	}
	return all
}

// MergeReports makes one report of those that the tasks of a batch made, in a
// history with the newest first. An earlier attempt of a task stays apart.
func MergeReports(history []ReportPoint) []ReportPoint {
	out := make([]ReportPoint, 0, len(history))
	place := map[[2]string]int{}
	for _, p := range history {
		key := [2]string{p.Execution, p.Batch}
		i, known := place[key]
		if p.Batch == "" || known && slices.Contains(out[i].Tasks, p.Tasks[0]) {
			out = append(out, p)
			continue
		}
		if !known {
			place[key] = len(out)
			out = append(out, p)
			continue
		}
		out[i].Merge(p.Report)
		out[i].Tasks = slices.Concat(out[i].Tasks, p.Tasks)
	}
	return out
}

// Past is what p is measured by: of a history with the newest first, what came
// before p. The other tasks of its batch say nothing of its cases.
func (p ReportPoint) Past(history []ReportPoint) []ReportPoint {
	if i := slices.IndexFunc(history, func(o ReportPoint) bool { return o.Build == p.Build }); i >= 0 {
		history = history[i+1:]
	}
	return slices.DeleteFunc(MergeReports(history), func(o ReportPoint) bool {
		return p.Batch != "" && o.Execution == p.Execution && o.Batch == p.Batch && !slices.Contains(o.Tasks, p.Tasks[0])
	})
}

// taskOf is the batch that a build of the execution is a task of, and the task;
// empty: of none.
func (x Execution) taskOf(build string) (batch, task string) {
	for _, st := range x.Stages {
		for _, a := range st.Actions {
			if a.TaskOf != "" && (a.Job == build || slices.Contains(a.Earlier, build)) {
				return st.Name + "/" + a.TaskOf, a.Name
			}
		}
	}
	return "", ""
}
