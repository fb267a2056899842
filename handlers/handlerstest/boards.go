package handlerstest

import (
	"context"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/pipeline"
)

// ChangeBoard keeps a Board, which Board then answers with, together with the
// executions that have not ended.
func (s *State) ChangeBoard(b *pipeline.Board) { s.change(func() { s.boards[b.Key] = b }) }

// Board is a copy of one that was kept, or that of the executions that name it.
func (s *State) Board(_ context.Context, key string) (*pipeline.Board, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b *pipeline.Board
	if kept := s.boards[key]; kept != nil {
		own := *kept
		own.Live = maps.Clone(kept.Live)
		if own.Live == nil {
			own.Live = map[string]*pipeline.Execution{}
		}
		b = &own
	}
	for _, x := range s.executions {
		if x.Board != key {
			continue
		}
		if b == nil {
			b = pipeline.NewBoard(key, x.Repo, x.Project, x.Pipeline.Name)
		}
		if !x.Status.Ended() {
			live := x
			b.Live[x.ID] = &live
		}
	}
	if b == nil {
		return nil, 0, pipeline.ErrNotFound
	}
	return b, 1, nil
}

// Boards lists those that executions name, in the order of their keys.
func (s *State) Boards(_ context.Context, limit int, after string) (pipeline.Page[string], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, x := range s.executions {
		keys = append(keys, x.Board)
	}
	slices.Sort(keys)
	return cut(slices.Compact(keys), limit, after), nil
}
