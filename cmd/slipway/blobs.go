package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store/artifacts"
	blobstore "github.com/slipway-ci/slipway/store/blobs"
	"github.com/slipway-ci/slipway/store/logs"
)

// openBucket opens where bytes are kept. A wrong address or key is a mistake in
// the configuration; a store that is away is not.
func openBucket(ctx context.Context, cfg config.Config, log *slog.Logger) (*blobstore.Bucket, error) {
	keys, err := cfg.EncryptionKeys()
	if err != nil {
		return nil, usage(err)
	}
	address := cfg.BlobURL
	if address == "" {
		address = "file://" + filepath.Join(cfg.Data, "blobs")
	}
	before, err := cfg.PlaintextBefore()
	if err != nil {
		return nil, usage(err)
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	b, err := blobstore.Open(ctx, address, blobstore.Options{Keys: keys, KMS: cfg.EncryptionKMS, PlainBefore: before, Log: log})
	if errors.Is(err, blobstore.ErrKey) || errors.Is(err, blobstore.ErrAddress) {
		err = usage(err)
	}
	if err != nil {
		return nil, fmt.Errorf("blob_url: %w", err)
	}
	return b, nil
}

// openTime bounds the first look at the blob store.
const openTime = time.Minute

// artifactStore says the artifact store's errors in the domain's words.
type artifactStore struct{ *artifacts.Store }

func (a artifactStore) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	r, err := a.Store.Open(ctx, digest)
	return r, known(err)
}

func (a artifactStore) Body(ctx context.Context, key string) ([]byte, error) {
	data, err := a.Store.Body(ctx, key)
	return data, known(err)
}

func (a artifactStore) OpenArtifact(ctx context.Context, digest string) (io.ReadCloser, error) {
	return a.Open(ctx, digest)
}

// logStore says the log store's words in the domain's.
type logStore struct{ *logs.Store }

func (l logStore) Append(ctx context.Context, build string, token, offset int64, data []byte) (int64, error) {
	end, err := l.Store.Append(ctx, build, token, offset, data)
	if errors.Is(err, logs.ErrGap) {
		return end, nil // the answer says where to go on
	}
	return end, known(err)
}

func (l logStore) Seal(ctx context.Context, build string, token int64, phases []pipeline.Phase) error {
	var marks []logs.Mark
	for _, p := range phases {
		if p.LogLine > 0 {
			marks = append(marks, logs.Mark{Name: p.Type, Line: p.LogLine, At: p.StartTime})
		}
	}
	err := l.Store.Seal(ctx, build, token, marks)
	if errors.Is(err, logs.ErrNotFound) || errors.Is(err, logs.ErrSealed) {
		return nil // it said nothing, or the answer to an earlier call was lost
	}
	return known(err)
}

func (l logStore) Stat(ctx context.Context, build string) (bytes, lines int64, sealed bool, err error) {
	bytes, lines, sealed, err = l.Store.Stat(ctx, build)
	return bytes, lines, sealed, known(err)
}

func (l logStore) ReadAt(ctx context.Context, build string, offset int64, limit int) ([]byte, error) {
	data, err := l.Store.ReadAt(ctx, build, offset, limit)
	return data, known(err)
}

func (l logStore) LineOffset(ctx context.Context, build string, line int64) (int64, error) {
	at, err := l.Store.LineOffset(ctx, build, line)
	return at, known(err)
}

func (l logStore) Wait(ctx context.Context, build string, offset int64) error {
	return known(l.Store.Wait(ctx, build, offset))
}

// known gives an error of the stores, which know nothing of the domain, the
// domain's word.
func known(err error) error {
	for ours, theirs := range map[error][]error{
		pipeline.ErrNotFound: {artifacts.ErrNotFound, logs.ErrNotFound},
		pipeline.ErrStale:    {logs.ErrStale},
		pipeline.ErrConflict: {logs.ErrSealed},
	} {
		for _, t := range theirs {
			if errors.Is(err, t) {
				return fmt.Errorf("%w: %w", ours, err)
			}
		}
	}
	return err
}
