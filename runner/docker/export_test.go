package docker

import "context"

// DataLabel is the value of the label slipway.data.
func DataLabel(e *Engine) string { return e.dataLabel() }

// LabelOf is the value of that label for a data folder.
var LabelOf = labelOf

// Waiting is the ID of the container that waits for the next build, once it
// does; empty if none is to come.
func Waiting(ctx context.Context, e *Engine) string {
	e.slots.mu.Lock()
	list := append([]*slot{}, e.slots.list...)
	e.slots.mu.Unlock()
	for _, s := range list {
		select {
		case <-s.done:
		case <-ctx.Done():
			return ""
		}
		if s.spare != nil {
			return s.spare.id
		}
	}
	return ""
}

// Cool is what happens long after the last build.
func Cool(e *Engine) { e.cooled() }
