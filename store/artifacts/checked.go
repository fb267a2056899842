package artifacts

import (
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// checked reads bytes and fails at their end if they have another digest.
type checked struct {
	r    io.ReadCloser
	hash hash.Hash
	want string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	_, _ = c.hash.Write(p[:n]) // never fails
	if errors.Is(err, io.EOF) && hex.EncodeToString(c.hash.Sum(nil)) != c.want {
		err = ErrDigest
	}
	return n, err
}

func (c *checked) Close() error { return c.r.Close() }
