package dispatch

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/pipeline"
)

// Deployments lists deployments, the newest first.
func (f *Fleet) Deployments(ctx context.Context, q pipeline.DeploymentQuery) (pipeline.Page[pipeline.Deployment], error) {
	return f.store.Deployments(ctx, q)
}

// Deployment is a deployment and what its instances did.
func (f *Fleet) Deployment(ctx context.Context, id string) (pipeline.Deployment, []pipeline.InstanceDetail, error) {
	d, _, err := f.store.Deployment(ctx, id)
	if err != nil {
		return d, nil, err
	}
	details := make([]pipeline.InstanceDetail, 0, len(d.Instances))
	for _, i := range d.Instances {
		detail := pipeline.InstanceDetail{Instance: i, Events: []pipeline.LifecycleEvent{}}
		if i.Job != "" {
			b, err := f.service.records.Build(ctx, i.Job)
			if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
				return d, nil, err
			}
			detail.Events = append(detail.Events, b.LifecycleEvents()...)
			if b.Failure != nil {
				detail.Tail = b.Failure.Tail
			}
		}
		details = append(details, detail)
	}
	return d, details, nil
}
