package redact

import "io"

// Writer masks what is written to it. It is not safe for concurrent use.
type Writer struct {
	m  *Masker
	w  io.Writer
	st state
	// held is the end of what was written: the beginning of a secret, maybe.
	held []byte
	out  []byte
}

// Writer returns a writer that passes on to w what is written to it, with the
// secrets masked. It passes on at once all but an end that may be the
// beginning of a secret; Flush or Close passes on that too.
func (m *Masker) Writer(w io.Writer) *Writer { return &Writer{m: m, w: w} }

// Write masks p and writes the result in at most one call.
func (w *Writer) Write(p []byte) (int, error) {
	text := p
	if len(w.held) > 0 {
		w.held = append(w.held, p...)
		text = w.held
	}
	out, done := w.m.mask(w.out[:0], text, &w.st, false)
	w.held = append(w.held[:0], text[done:]...)
	if err := w.pass(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what is held back, as if the text ended here: a secret of
// which one part was written before and one comes after is not masked.
func (w *Writer) Flush() error {
	out, _ := w.m.mask(w.out[:0], w.held, &w.st, true)
	w.held, w.st = w.held[:0], state{}
	return w.pass(out)
}

// Close flushes. It does not close the underlying writer.
func (w *Writer) Close() error { return w.Flush() }

// pass writes out and keeps its memory for the next time.
func (w *Writer) pass(out []byte) error {
	w.out = out[:0]
	if len(out) == 0 {
		return nil
	}
	_, err := w.w.Write(out)
	return err
}
