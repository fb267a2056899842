package runner

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// engineTime is what an image's script gets to start its Docker engine; those
// of curated images give up after a minute (CodeBuild reference 2.7).
const engineTime = 2 * time.Minute

// dockerdScript starts the engine of a curated image as its entrypoint would:
// the script starts dockerd, waits until it answers, and runs its arguments.
const dockerdScript = `_sw_start=/usr/local/bin/dockerd-entrypoint.sh
[ ! -x "$_sw_start" ] || "$_sw_start" true </dev/null`

// startEngine starts the Docker engine that the image of a privileged build
// brings along. A build whose engine doesn't start goes on: its commands may
// need none.
func (r *build) startEngine(ctx context.Context) error {
	if !r.order.Privileged {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, engineTime, &pipeline.UserError{
		Code: codeContainer, Msg: "The image's dockerd-entrypoint.sh takes more than " + engineTime.String(),
	})
	defer cancel()
	res, err := r.quietly(ctx, dockerdScript)
	if err == nil && res.exit != 0 {
		r.log.line("Warning: the image's Docker engine did not start: dockerd-entrypoint.sh ended with exit status %d", res.exit)
	}
	return err
}

// noEngine is what docker's client says where it finds no engine.
const noEngine = "Cannot connect to the Docker daemon"
