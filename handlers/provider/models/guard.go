package models

import (
	"context"
	"errors"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Guard is the stage between routing and invoke that leaves out targets which are
// known not to do what a request asks. It implements [pipeline.Stage].
type Guard struct {
	Catalogue *Catalogue
	// Kinds are the kinds of providers by their names in the configuration, for
	// targets that do not say theirs.
	Kinds map[string]string
}

// Handle implements [pipeline.Stage]. A request that no target can do fails with
// the code invalid_request before anything is spent on it; what it says is of the
// first target.
func (g *Guard) Handle(_ context.Context, job *pipeline.Job) error {
	if job.Pending != nil {
		return nil // it was begun, so it could be
	}
	req := job.Request
	if job.Outgoing != nil {
		req = job.Outgoing
	}
	var first *schemas.Failure
	left := make([]schemas.Target, 0, len(job.Targets))
	for _, t := range job.Targets {
		asked := t
		if asked.Kind == "" {
			asked.Kind = g.Kinds[t.Provider]
		}
		err := g.Catalogue.Check(asked, req)
		if err == nil {
			left = append(left, t)
			continue
		}
		if f := (*schemas.Failure)(nil); first == nil && errors.As(err, &f) {
			first = f
		}
	}
	if len(left) == 0 && first != nil {
		first.Code = schemas.InvalidRequest // no other target can
		return first
	}
	job.Targets = left
	return nil
}
