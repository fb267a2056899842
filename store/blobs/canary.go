package blobs

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// canary is an encrypted object that says that this bucket is encrypted, and by
// being readable that the keys are the right ones. It is written anew by every
// server that starts, with its first key.
const canary = "encryption"

const canaryText = "Objects of this blob store are encrypted.\n"

// checkKeys compares the keys with those that the bucket was encrypted with.
func (b *Bucket) checkKeys(ctx context.Context, log *slog.Logger) error {
	there, err := b.Exists(ctx, canary)
	if err != nil {
		return fmt.Errorf("looking whether the blob store is encrypted: %w", err)
	}
	if b.keys == nil {
		if there {
			return fmt.Errorf("the blob store is encrypted, and there is neither encryption_key nor encryption_kms: %w", ErrKey)
		}
		return nil
	}
	if !there {
		return b.beginEncryption(ctx, log)
	}
	if err := b.readCanary(ctx); err != nil {
		return fmt.Errorf("opening the blob store with encryption_key or encryption_kms: %w", err)
	}
	// During a rotation the next server may have the first key only.
	if err := b.WriteAll(ctx, canary, []byte(canaryText)); err != nil {
		log.WarnContext(ctx, "the blob store can't be written to", "error", err)
	}
	return nil
}

func (b *Bucket) readCanary(ctx context.Context) error {
	text, err := b.ReadAll(ctx, canary, 1<<10)
	if err == nil && string(text) != canaryText {
		err = fmt.Errorf("%s: %w", canary, ErrDamaged)
	}
	return err
}

func (b *Bucket) beginEncryption(ctx context.Context, log *slog.Logger) error {
	for _, err := range b.List(ctx, "") {
		if err != nil {
			return err
		}
		if b.plain.IsZero() {
			log.WarnContext(ctx, "the blob store has objects from before encryption, which can't be read any more; to read them set encryption_plaintext_before",
				"encryption_plaintext_before", time.Now().UTC().Format(time.RFC3339))
		}
		break
	}
	err := b.WriteAll(ctx, canary, []byte(canaryText))
	if err == nil {
		err = b.readCanary(ctx) // another server may have begun with another key
	}
	if err != nil {
		return fmt.Errorf("beginning to encrypt the blob store: %w", err)
	}
	return nil
}
