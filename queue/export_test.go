package queue

import "context"

// Tend does once what Run does in the background beside handling entries.
func Tend(ctx context.Context, in *Inbox) error {
	_, err := (&tender{in: in}).tend(ctx)
	return err
}
