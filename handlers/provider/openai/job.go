package openai

import (
	"context"
	"net/http"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// Where a film's bytes are, behind its id. As the PollURL of a job it says that
// the film is ready to be fetched.
const contentPath = "content"

// EncodePoll implements [provider.JobAdapter]: for films, and for answers of the
// responses API in the background.
func (a *Adapter) EncodePoll(ctx context.Context, call provider.Call, job schemas.Job) (*http.Request, error) {
	path, err := jobPath(call, job)
	if err != nil {
		return nil, err
	}
	if job.PollURL == contentPath {
		path += "/" + contentPath
	}
	return a.Get(ctx, call, path)
}

// EncodeCancel implements [provider.JobAdapter]. A film ends by being deleted.
func (a *Adapter) EncodeCancel(ctx context.Context, call provider.Call, job schemas.Job) (*http.Request, error) {
	path, err := jobPath(call, job)
	switch {
	case err != nil:
		return nil, err
	case call.Request.Operation() == schemas.OpVideo:
		return a.Delete(ctx, call, path)
	}
	return a.Post(ctx, call, path+"/cancel", nil)
}

func jobPath(call provider.Call, job schemas.Job) (string, error) {
	if call.Request.Operation() == schemas.OpVideo {
		return below(pathVideos, job.ID)
	}
	return below(pathResponses, job.ID)
}
