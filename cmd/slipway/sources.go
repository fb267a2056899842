package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/worker"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/source"
	blobstore "github.com/slipway-ci/slipway/store/blobs"
)

// fetcher makes artifacts of the sources that a pipeline has beside its
// repository, in the server's own process: the newest commit of another
// repository, without git's own files, or an archive in a bucket.
type fetcher struct {
	control pipeline.Control
	git     *source.Store
	bundles bundles
}

// fetchSlots is how many sources a server fetches at a time.
const fetchSlots = 4

func (p *platform) fetcher() fetcher {
	return fetcher{control: p.control, git: p.mirrors, bundles: bundles{p.mirrors, p.cfg.Data}}
}

// run works until ctx ends.
func (f fetcher) run(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	return worker.Run(ctx, worker.Options{
		Control: f.control, Log: log, Drain: cfg.Limits.Drain,
		Worker: pipeline.Worker{
			ID: uuid.NewString(), Name: "server", Kind: pipeline.SourceJob, Slots: fetchSlots, Version: version,
			Classes: []string{pipeline.ClassOf(pipeline.SourceJob, "", "")},
		},
		Do: f.do,
	})
}

func (f fetcher) do(ctx context.Context, job pipeline.Assignment, s *worker.Stream) (pipeline.Build, pipeline.Outcome) {
	const phase = "DOWNLOAD_SOURCE"
	record := pipeline.Build{Status: pipeline.BuildInProgress, CurrentPhase: phase, StartedAt: time.Now().UTC()}
	record.Phases = []pipeline.Phase{{Type: phase, Status: pipeline.BuildInProgress, StartTime: record.StartedAt, LogLine: 1}}
	s.Report(record)
	ctx, cancel := context.WithTimeoutCause(ctx, job.Job.Timeout, pipeline.ErrTimedOut)
	defer cancel()
	say := func(format string, args ...any) {
		// A log that can't be kept doesn't keep the source from being fetched.
		_ = s.Log([]byte(fmt.Sprintf(format, args...) + "\n"))
	}
	out, err := f.fetch(ctx, job, say)
	if err != nil {
		out = preparationFailure(ctx, err, "fetching the source failed")
		say("%s", out.Message)
	}
	record.Close(out.Status, out.Code, out.Message, time.Now().UTC())
	record.Artifacts, record.Exported = out.Artifacts, out.Exported
	return record, out
}

func (f fetcher) fetch(ctx context.Context, job pipeline.Assignment, say func(string, ...any)) (pipeline.Outcome, error) {
	out := pipeline.Outcome{Status: pipeline.BuildSucceeded}
	var a pipeline.Artifact
	var err error
	switch o := job.Fetch; {
	case o == nil:
		err = errors.New("the job has no order")
	case o.Source != nil:
		a, out.Exported, err = f.commit(ctx, job, *o, say)
	default:
		a, out.Exported, err = f.object(ctx, job, *o, say)
	}
	if err != nil {
		return out, err
	}
	out.Artifacts = []pipeline.Artifact{a}
	say("Artifact %s: %d bytes, sha256 %s", a.Name, a.Bytes, a.Digest)
	return out, nil
}

// commit packs the newest commit of a branch.
func (f fetcher) commit(ctx context.Context, job pipeline.Assignment, o pipeline.FetchOrder, say func(string, ...any)) (pipeline.Artifact, map[string]string, error) {
	a := pipeline.Artifact{Name: o.Name, Format: string(archive.Tar)}
	src, name := *o.Source, ""
	if o.Branch != "" {
		name = "refs/heads/" + o.Branch
	}
	sha, ref, err := f.git.Resolve(ctx, src, name)
	if err != nil {
		return a, nil, err
	}
	src.SHA, src.FetchRef = sha, ref
	say("%s: commit %s of %s", src.Repo.FullName(), sha, ref)
	message, authored, err := f.git.Describe(ctx, src)
	if err != nil {
		return a, nil, err
	}
	exported := map[string]string{
		"CommitId": sha, "CommitMessage": pipeline.CutMessage(message), "AuthorDate": authored, "BranchName": strings.TrimPrefix(ref, "refs/heads/"),
		"RepositoryName": src.Repo.Name, "FullRepositoryName": src.Repo.FullName(),
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(f.bundles.Bundle(ctx, src, w))
	}()
	a, err = f.control.PutArtifact(ctx, job.Job.Ref(), a, r)
	r.CloseWithError(err)
	<-done
	return a, exported, err
}

// object copies an archive out of a bucket.
func (f fetcher) object(ctx context.Context, job pipeline.Assignment, o pipeline.FetchOrder, say func(string, ...any)) (pipeline.Artifact, map[string]string, error) {
	format, _ := archive.FormatOf(o.Key)
	a := pipeline.Artifact{Name: o.Name, Format: string(format)}
	bucket, err := blobstore.Open(ctx, o.Address, blobstore.Options{})
	if err != nil {
		return a, nil, fmt.Errorf("opening bucket %s: %w", o.Bucket, err)
	}
	defer func() { _ = bucket.Close() }() // only read from
	r, v, err := bucket.NewVersionReader(ctx, o.Key)
	if errors.Is(err, blobstore.ErrNotFound) {
		return a, nil, &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: fmt.Sprintf("bucket %s has no object %s", o.Bucket, o.Key)}
	}
	if err != nil {
		return a, nil, err
	}
	defer func() { _ = r.Close() }() // only read from
	say("s3://%s/%s: version %s, ETag %s", o.Bucket, o.Key, cmp.Or(v.ID, "none"), v.ETag)
	a, err = f.control.PutArtifact(ctx, job.Job.Ref(), a, r)
	return a, map[string]string{"VersionId": v.ID, "ETag": v.ETag, "BucketName": o.Bucket, "ObjectKey": o.Key}, err
}

// sourceName is what projects call a source that an action fetches; "" for
// other actions.
func sourceName(repo forge.Repo, a pipeline.Action) string {
	set := a.Configuration
	switch a.Provider {
	case pipeline.S3Provider:
		return "s3://" + set[pipeline.ConfigBucket] + "/" + set[pipeline.ConfigObjectKey]
	case pipeline.RepositoryProvider:
		if url := set[pipeline.ConfigCloneURL]; url != "" {
			return url
		}
		return repo.Forge + "/" + set[pipeline.ConfigRepository]
	}
	return ""
}

// Fetch makes the order of a source. Which one a repository may take in, the
// server says: who may push to it need not be able to read the other. The code
// of strangers gets none.
func (o *orders) Fetch(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.FetchOrder, error) {
	act, err := actionOf(j, x)
	if err != nil {
		return nil, err
	}
	name, set := sourceName(x.Repo, act.def), act.def.Configuration
	switch {
	case !j.Trusted:
		return nil, &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: "the code of strangers gets no sources beside its repository: " + name}
	case !o.cfg.Takes(x.Repo.Forge+"/"+x.Repo.FullName(), name):
		return nil, &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: fmt.Sprintf("the server lets no project of %s take in %s", x.Repo.FullName(), name)}
	}
	order := &pipeline.FetchOrder{Name: act.def.Name, Branch: set[pipeline.ConfigBranch], Bucket: set[pipeline.ConfigBucket], Key: set[pipeline.ConfigObjectKey]}
	if act.def.Provider == pipeline.S3Provider {
		order.Address = cmp.Or(o.cfg.Buckets[order.Bucket], "s3://"+order.Bucket)
		return order, nil
	}
	if url := set[pipeline.ConfigCloneURL]; url != "" {
		order.Source = &pipeline.SourceOrder{Repo: repoAt(url), URL: url}
		return order, nil
	}
	repo, err := sibling(x.Repo, set[pipeline.ConfigRepository])
	if err != nil {
		return nil, err
	}
	t := pipeline.Trigger{Installation: x.Trigger.Installation}
	if !strings.EqualFold(repo.Owner, x.Repo.Owner) {
		t.Installation = 0 // another owner's is looked up
	}
	src, err := sourceOrder(ctx, o.credentials, repo, t)
	order.Source = &src
	return order, err
}

// repoAt is what to call a repository of no forge of ours.
func repoAt(url string) forge.Repo {
	host, path, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(url, "https://"), ".git"), "/")
	return forge.Repo{Forge: "git", Owner: host, Name: path, CloneURL: url}
}

// sibling is another repository of the same forge, OWNER/NAME, whose clone URL
// differs in that alone.
func sibling(repo forge.Repo, fullName string) (forge.Repo, error) {
	owner, name, _ := strings.Cut(fullName, "/")
	own := "/" + strings.ToLower(repo.FullName())
	at := strings.LastIndex(strings.ToLower(repo.CloneURL), own)
	if at < 0 {
		return forge.Repo{}, &pipeline.UserError{Code: pipeline.ConfigurationError,
			Msg: fmt.Sprintf("where %s is can't be told from the address of %s: name it with git", fullName, repo.FullName())}
	}
	return forge.Repo{
		Forge: repo.Forge, Owner: owner, Name: name, CloneURL: repo.CloneURL[:at] + "/" + fullName + repo.CloneURL[at+len(own):],
	}, nil
}
