package blobs

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"filippo.io/age"
	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms" // awskms://
	"gocloud.dev/secrets/localsecrets"
)

const (
	// stanzaType marks our line in the header of an age file. It has two
	// arguments, the kind of the key and a wrapped intermediate key; its body is
	// the file key, sealed with the intermediate key and bound to the object.
	stanzaType = "slipway"

	// An intermediate key is made anew after an hour, so that a KMS is asked once
	// an hour and not for each object. While the KMS is away the old one stays in
	// use, up to a day.
	renewAfter = time.Hour
	renewRetry = time.Minute
	useAtMost  = 24 * time.Hour
	// sealAtMost is far below what random nonces of 96 bits allow.
	sealAtMost = 1 << 20
	// rememberKeys bounds the intermediate keys that are kept unwrapped.
	rememberKeys = 4096
)

// keeper wraps intermediate keys with a key that it doesn't show.
type keeper struct {
	kind string // local, kms
	*secrets.Keeper
}

// intermediate is a key that seals file keys.
type intermediate struct {
	cipher.AEAD
	kind, wrapped string
}

// keyring has the keys of a bucket. It is safe for concurrent use.
type keyring struct {
	keepers []keeper // the first one encrypts
	now     func() time.Time
	log     *slog.Logger

	mu     sync.Mutex
	using  *intermediate
	made   time.Time // using
	tried  time.Time // to make another one
	sealed int       // with using
	known  map[string]*intermediate
}

// newKeyring is nil without a key.
func newKeyring(ctx context.Context, o Options) (*keyring, error) {
	k := &keyring{now: time.Now, log: o.Log, known: map[string]*intermediate{}}
	if o.KMS != "" {
		kms, err := secrets.OpenKeeper(ctx, o.KMS)
		if err != nil {
			return nil, fmt.Errorf("opening the KMS key: %w: %w", ErrAddress, err)
		}
		k.keepers = append(k.keepers, keeper{"kms", kms})
	}
	for _, key := range o.Keys {
		k.keepers = append(k.keepers, keeper{"local", localsecrets.NewKeeper(key)})
	}
	if len(k.keepers) == 0 {
		return nil, nil
	}
	return k, nil
}

func (k *keyring) close() error {
	var errs []error
	for _, keeper := range k.keepers {
		errs = append(errs, keeper.Close())
	}
	return errors.Join(errs...)
}

// writing is the intermediate key for one more object.
func (k *keyring) writing(ctx context.Context) (*intermediate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	fresh := k.using != nil && now.Sub(k.made) < renewAfter && k.sealed < sealAtMost
	usable := k.using != nil && now.Sub(k.made) < useAtMost && k.sealed < sealAtMost
	if !fresh && !(usable && now.Sub(k.tried) < renewRetry) {
		k.tried = now
		made, err := k.newIntermediate(ctx)
		switch {
		case err == nil:
			k.using, k.made, k.sealed = made, now, 0
			k.remember(made)
		case usable:
			k.log.WarnContext(ctx, "the key for encryption stays in use while no new one can be had", "error", err)
		default:
			return nil, err
		}
	}
	k.sealed++
	return k.using, nil
}

func (k *keyring) newIntermediate(ctx context.Context) (*intermediate, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	key := make([]byte, 32)
	rand.Read(key)
	wrapped, err := k.keepers[0].Encrypt(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("wrapping a key with the %s key: %w", k.keepers[0].kind, known(ctx, err))
	}
	return newIntermediate(key, k.keepers[0].kind, base64.RawStdEncoding.EncodeToString(wrapped))
}

func newIntermediate(key []byte, kind, wrapped string) (*intermediate, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("using an intermediate key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("using an intermediate key: %w", err)
	}
	return &intermediate{aead, kind, wrapped}, nil
}

// remember is called with the lock held.
func (k *keyring) remember(i *intermediate) {
	if len(k.known) >= rememberKeys {
		clear(k.known)
	}
	k.known[i.wrapped] = i
}

// unwrap is the file key of an object.
func (k *keyring) unwrap(ctx context.Context, stanzas []*age.Stanza, binding []byte) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanzaType || len(stanzas[0].Args) != 2 {
		return nil, fmt.Errorf("%w: its header isn't ours", ErrDamaged)
	}
	i, err := k.reading(ctx, stanzas[0].Args[0], stanzas[0].Args[1])
	if err != nil {
		return nil, err
	}
	key, err := i.Open(nil, nil, stanzas[0].Body, binding)
	if err != nil {
		return nil, fmt.Errorf("%w: its key is for another object", ErrDamaged)
	}
	return key, nil
}

// reading is an intermediate key that an object names.
func (k *keyring) reading(ctx context.Context, kind, wrapped string) (*intermediate, error) {
	k.mu.Lock()
	i := k.known[wrapped]
	k.mu.Unlock()
	if i != nil && i.kind == kind {
		return i, nil
	}
	data, err := base64.RawStdEncoding.DecodeString(wrapped)
	if err != nil {
		return nil, fmt.Errorf("%w: its header isn't ours", ErrDamaged)
	}
	key, err := k.open(ctx, kind, data)
	if err != nil {
		return nil, err
	}
	if i, err = newIntermediate(key, kind, wrapped); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	k.mu.Lock()
	k.remember(i)
	k.mu.Unlock()
	return i, nil
}

// open asks all keepers of a kind. That one of them refuses is an answer, and
// that it is away is none.
func (k *keyring) open(ctx context.Context, kind string, wrapped []byte) ([]byte, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var away error
	for _, keeper := range k.keepers {
		if keeper.kind != kind {
			continue
		}
		key, err := keeper.Decrypt(ctx, wrapped)
		if err == nil {
			return key, nil
		}
		if kind != "local" && !refused(err) {
			away = fmt.Errorf("unwrapping a key with the %s key: %w", kind, known(ctx, err))
		}
	}
	if away != nil {
		return nil, away
	}
	return nil, fmt.Errorf("%w: it needs a %s key", ErrKey, kind)
}

func refused(err error) bool {
	code := gcerrors.Code(err)
	return code == gcerrors.InvalidArgument || code == gcerrors.NotFound
}

// wrapper and unwrapper are what age knows of the keys.
type wrapper struct {
	*intermediate
	binding []byte
}

var _ age.Recipient = wrapper{}

// Wrap implements age.Recipient.
func (w wrapper) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	return []*age.Stanza{{Type: stanzaType, Args: []string{w.kind, w.wrapped}, Body: w.Seal(nil, nil, fileKey, w.binding)}}, nil
}

type unwrapper func(stanzas []*age.Stanza) ([]byte, error)

var _ age.Identity = unwrapper(nil)

// Unwrap implements age.Identity.
func (u unwrapper) Unwrap(stanzas []*age.Stanza) ([]byte, error) { return u(stanzas) }
