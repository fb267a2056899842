package runner

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/pipeline"
)

// The status codes of phase contexts (CodeBuild reference 1.5).
const (
	codeYAML      = "YAML_FILE_ERROR"
	codeCommand   = "COMMAND_EXECUTION_ERROR"
	codeClient    = "CLIENT_ERROR"
	codeDecrypt   = "Decrypted Variables Error"
	codePull      = "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"
	codeTimedOut  = "BUILD_TIMED_OUT"
	codeStopped   = "BUILD_STOPPED"
	codeFault     = "INTERNAL_SERVICE_ERROR"
	codeContainer = "BUILD_CONTAINER_DEAD"
)

// NoImage is the error of an image that can't be had (E15); hint says what to
// do about it.
func NoImage(image, reason, hint string) error {
	return &pipeline.UserError{Code: codePull, Msg: fmt.Sprintf("Unable to pull the image %s: %s. %s", image, reason, hint)}
}

// NoShell is the error of an image in which no build can run (E16).
func NoShell(image, reason string) error {
	return &pipeline.UserError{Code: codeContainer, Msg: fmt.Sprintf(
		"Build container found dead before completing the build: %s (image %s; a build image must contain sh)", reason, image)}
}

// NoUser is the error of a run-as that can't be followed.
func NoUser(user, reason string) error {
	return &pipeline.UserError{Code: codeCommand, Msg: fmt.Sprintf("Unable to run commands as user %q: %s", user, reason)}
}

// contextOf is what a phase says about its end.
func contextOf(err error) pipeline.Context {
	var mistake *pipeline.UserError
	switch {
	case err == nil:
		return pipeline.Context{}
	case errors.Is(err, pipeline.ErrStopped), errors.Is(err, pipeline.ErrStale), errors.Is(err, context.Canceled):
		return pipeline.Context{StatusCode: codeStopped, Message: "Build was stopped."}
	case errors.Is(err, pipeline.ErrTimedOut):
		return pipeline.Context{StatusCode: codeTimedOut, Message: "Build has timed out."}
	case errors.As(err, &mistake):
		return pipeline.Context{StatusCode: mistake.Code, Message: mistake.Error()}
	}
	return pipeline.Context{StatusCode: codeFault, Message: "Internal service error; the operator's log says more."}
}

// statusOf is pipeline.BuildStatusOf, with a lost claim as a stop.
func statusOf(err error) pipeline.BuildStatus {
	if errors.Is(err, pipeline.ErrStale) || errors.Is(err, context.Canceled) {
		return pipeline.BuildStopped
	}
	return pipeline.BuildStatusOf(err)
}
