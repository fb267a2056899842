package logs

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Memory is a Tail in this process: it is gone when the process ends.
type Memory struct {
	mu   sync.Mutex
	logs map[string]*memoryLog
	grew chan struct{} // closed at each change
}

type memoryLog struct {
	State
	tail   []byte
	chunks []Chunk
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{logs: map[string]*memoryLog{}, grew: make(chan struct{})}
}

var _ Tail = (*Memory)(nil)

// Load implements Tail.
func (m *Memory) Load(_ context.Context, id string, _ Parts) (State, []byte, []Chunk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.logs[id]
	if l == nil {
		return State{}, nil, nil, ErrNotFound
	}
	return l.State, slices.Clone(l.tail), slices.Clone(l.chunks), nil
}

// Append implements Tail.
func (m *Memory) Append(_ context.Context, id string, token, at int64, data []byte) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.logs[id]
	if l == nil {
		l = &memoryLog{State: State{Token: token}}
		m.logs[id] = l
	}
	if l.Token != token || l.Length != at || l.Sealed {
		return State{}, ErrMoved
	}
	if len(l.tail) == 0 {
		l.Since = time.Now()
	}
	l.tail = append(l.tail, data...)
	l.Length += int64(len(data))
	m.changed()
	return l.State, nil
}

// Flush implements Tail.
func (m *Memory) Flush(_ context.Context, id string, was State, token int64, chunks []Chunk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.logs[id]
	if l == nil && was.Length == 0 {
		l = &memoryLog{State: State{Token: token}}
		m.logs[id] = l
	}
	if l == nil || l.Token != was.Token || l.Length != was.Length || l.Start != was.Start || l.Sealed {
		return ErrMoved
	}
	last := chunks[len(chunks)-1]
	l.chunks = append(l.chunks, chunks...)
	l.Start = last.Start + last.Bytes
	l.Length, l.Lines, l.tail, l.Since = l.Start, last.Line+last.Lines, nil, time.Time{}
	m.changed()
	return nil
}

// Seal implements Tail.
func (m *Memory) Seal(_ context.Context, id string, was State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.logs[id]; l == nil || l.Length != was.Length || l.Start != was.Start {
		return ErrMoved
	}
	delete(m.logs, id)
	m.changed()
	return nil
}

// Wait implements Tail.
func (m *Memory) Wait(ctx context.Context, id string, at int64) error {
	m.mu.Lock()
	grew := m.grew
	l := m.logs[id]
	longer := l != nil && l.Length > at
	m.mu.Unlock()
	if longer {
		return nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Second): // it may have been sealed before we looked
	case <-grew:
	}
	return nil
}

func (m *Memory) changed() {
	close(m.grew)
	m.grew = make(chan struct{})
}
