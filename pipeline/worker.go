package pipeline

import (
	"context"
	"io"
	"time"
)

// Control is the server as a worker sees it, in process or over HTTPS: the
// only way by which runners and agents get work, and the only thing they may
// reach (design: runners never see Redis or the blob store). Every method may
// be called again with the same arguments after a lost answer. ErrStale means
// that the job is no longer the caller's and it must let go of it at once.
type Control interface {
	// Claim waits up to wait for a job that w may do; ErrNotFound if none came.
	Claim(ctx context.Context, w Worker, wait time.Duration) (Assignment, error)
	// Renew extends the lease and says whether the job is to be stopped.
	Renew(ctx context.Context, ref JobRef) (Renewal, error)
	// AppendLog adds masked bytes at an offset of the job's log. An append that
	// begins before the log's end is a repeat and is absorbed; the answer is the
	// log's new length. The caller sends whole lines where it can.
	AppendLog(ctx context.Context, ref JobRef, offset int64, data []byte) (int64, error)
	// Report replaces what is known of the build: its phases so far.
	Report(ctx context.Context, ref JobRef, b Build) error
	// PutArtifact stores bytes and answers with their digest and size. It reads
	// r to the end.
	PutArtifact(ctx context.Context, ref JobRef, a Artifact, r io.Reader) (Artifact, error)
	// Artifact opens the bytes that an assignment of this job names.
	Artifact(ctx context.Context, ref JobRef, digest string) (io.ReadCloser, error)
	// Complete ends the job.
	Complete(ctx context.Context, ref JobRef, b Build, o Outcome) error
}

// Renewal is the answer to an extension of a lease.
type Renewal struct {
	Lease time.Duration `json:"lease"`
	// Stop asks the worker to end the job and complete it as STOPPED; Reason
	// says who or what asked.
	Stop   bool   `json:"stop,omitempty"`
	Reason string `json:"reason,omitempty"`
}
