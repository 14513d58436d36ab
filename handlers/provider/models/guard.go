package models

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Guard is the stage between routing and invoke that leaves out targets which are
// known not to do what a request asks. It implements [pipeline.Stage].
type Guard struct {
	Catalogue *Catalogue
	// Kinds are the kinds of providers by their names in the configuration, for
	// targets that do not say theirs. Of a provider that is not here nothing is
	// known, and its targets stay.
	Kinds map[string]string
}

// Handle implements [pipeline.Stage]. A request that no target can do fails with
// the code invalid_request before anything is spent on it; what it says is of the
// first target. Targets that are left out stay in job.Decision, with the reason.
func (g *Guard) Handle(_ context.Context, job *pipeline.Job) error {
	if job.Pending != nil {
		return nil // it was begun, so it could be
	}
	req := job.Request
	if job.Outgoing != nil {
		req = job.Outgoing
	}
	var first *schemas.Failure
	left := job.Targets // of many jobs: it is copied before it is changed
	for i, t := range job.Targets {
		asked := t
		if asked.Kind == "" {
			asked.Kind = g.Kinds[t.Provider]
		}
		f := (*schemas.Failure)(nil)
		if asked.Kind == "" || !errors.As(g.Catalogue.Check(asked, req), &f) {
			if first != nil {
				left = append(left, t)
			}
			continue
		}
		if first == nil {
			first, left = f, slices.Clone(job.Targets[:i])
			job.Decision = slices.Clone(job.Decision)
		}
		leaveOut(job, t, f)
	}
	if len(left) == 0 && first != nil {
		first.Code = schemas.InvalidRequest // no other target can
		return first
	}
	job.Targets = left
	return nil
}

// leaveOut writes on the job why a target is not asked. The models that could are
// for the requester, if there is no other target.
func leaveOut(job *pipeline.Job, t schemas.Target, f *schemas.Failure) {
	why, _, _ := strings.Cut(f.Message, ";")
	for i := range job.Decision {
		if c := &job.Decision[i]; c.Kept && *c.Target == t {
			c.Kept, c.Reason = false, "models: "+why
			return
		}
	}
}
