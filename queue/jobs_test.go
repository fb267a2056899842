package queue_test

import (
	"testing"

	"github.com/slipway-ci/slipway/queue/queuetest"
)

func TestJobs(t *testing.T) { queuetest.Each(t, queuetest.TestJobs) }
