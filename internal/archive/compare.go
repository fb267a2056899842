package archive

import (
	"bytes"
	"errors"
	"io"
)

// SameBytes says whether two readers have the same bytes to their ends.
func SameBytes(x, y io.Reader) (bool, error) {
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, endX, err := fill(x, p)
		if err != nil {
			return false, err
		}
		m, endY, err := fill(y, q)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if endX || endY {
			return true, nil // as long as the other: they were equal so far
		}
	}
}

// fill reads until buf is full or r ends.
func fill(r io.Reader, buf []byte) (n int, end bool, err error) {
	n, err = io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, true, nil
	}
	return n, false, err
}
