package openai

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// Adapter speaks the API of OpenAI, or a [Variant] of it. It implements
// [provider.JobAdapter] and [provider.ProbeEncoder].
type Adapter struct {
	config    Config
	variant   Variant
	words     map[string]schemas.Code
	addresses map[string]*url.URL // by path; fixed unless the variant has its own
	header    http.Header         // of every request
}

// NewAdapter returns an adapter of the API at c.BaseURL in the dialect v. The
// caller has validated c.
func NewAdapter(c Config, v Variant) (*Adapter, error) {
	if v.RequestID == "" {
		v.RequestID = "X-Request-Id"
	}
	a := &Adapter{config: c, variant: v, words: words, addresses: make(map[string]*url.URL, len(paths))}
	for _, path := range paths {
		u, err := wire.Endpoint(c.BaseURL, path)
		if err != nil {
			return nil, err
		}
		a.addresses[path] = u
	}
	if len(v.Words) > 0 {
		a.words = maps.Clone(words)
		maps.Copy(a.words, v.Words)
	}
	dialect := map[string]string{"OpenAI-Organization": c.Organization, "OpenAI-Project": c.Project}
	switch {
	case c.APIKey == "":
	case v.KeyHeader != "":
		dialect[v.KeyHeader] = c.APIKey.Reveal()
	default:
		dialect["Authorization"] = "Bearer " + c.APIKey.Reveal()
	}
	a.header = wire.Header(dialect, c.Headers)
	return a, nil
}

// The paths below the base URL.
const (
	pathChat        = "chat/completions"
	pathResponses   = "responses"
	pathInputTokens = "responses/input_tokens"
	pathCompletions = "completions"
	pathEmbeddings  = "embeddings"
	pathModerations = "moderations"
	pathImages      = "images/generations"
	pathImageEdits  = "images/edits"
	pathVariations  = "images/variations"
	pathSpeech      = "audio/speech"
	pathTranscribe  = "audio/transcriptions"
	pathTranslate   = "audio/translations"
	pathVideos      = "videos"
	pathFiles       = "files"
	pathModels      = "models"
)

// paths are those that are worked out once.
var paths = []string{
	pathChat, pathResponses, pathInputTokens, pathCompletions, pathEmbeddings, pathModerations, pathImages,
	pathImageEdits, pathVariations, pathSpeech, pathTranscribe, pathTranslate, pathVideos, pathFiles, pathModels,
}

// Offers reports whether the adapter has the operation in OpenAI's form.
func (a *Adapter) Offers(op schemas.Operation) bool {
	if a.variant.Operations != nil {
		return slices.Contains(a.variant.Operations, op)
	}
	return op != schemas.OpRerank
}

// Encode implements [provider.Adapter].
func (a *Adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	op := call.Request.Operation()
	if !a.Offers(op) {
		return nil, wire.Unsupported("op", "is not offered by this provider")
	}
	if !given(call.Request) {
		return nil, wire.Invalid("op", "lacks what it is about: give the fields of "+string(op))
	}
	switch op {
	case schemas.OpChat:
		return a.encodeChat(ctx, call)
	case schemas.OpComplete:
		return a.encodeBody(ctx, call, pathCompletions, a.prompt)
	case schemas.OpCountTokens:
		return a.encodeBody(ctx, call, pathInputTokens, a.countable)
	case schemas.OpEmbed:
		return a.encodeBody(ctx, call, pathEmbeddings, a.embedding)
	case schemas.OpModerate:
		return a.encodeBody(ctx, call, pathModerations, a.moderation)
	case schemas.OpImage:
		return a.encodeBody(ctx, call, pathImages, a.picture)
	case schemas.OpImageEdit:
		return a.encodeEdit(ctx, call)
	case schemas.OpSpeech:
		return a.encodeBody(ctx, call, pathSpeech, a.speech)
	case schemas.OpTranscribe:
		return a.encodeTranscription(ctx, call)
	case schemas.OpVideo:
		return a.encodeVideo(ctx, call)
	case schemas.OpModels:
		return a.Get(ctx, call, pathModels)
	case schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete:
		return a.encodeFile(ctx, call)
	}
	return nil, wire.Unsupported("op", "is not offered by this provider")
}

// given reports whether a request has what its operation is about, which whoever
// took it in has checked.
func given(req *schemas.Request) bool {
	switch req.Operation() {
	case schemas.OpEmbed:
		return req.Embed != nil
	case schemas.OpModerate:
		return req.Moderate != nil
	case schemas.OpImage, schemas.OpImageEdit:
		return req.Image != nil
	case schemas.OpSpeech:
		return req.Speech != nil
	case schemas.OpTranscribe:
		return req.Transcribe != nil
	case schemas.OpVideo:
		return req.Video != nil
	case schemas.OpFileUpload:
		return req.File != nil && req.File.Content != nil
	case schemas.OpFileGet, schemas.OpFileDelete:
		return req.File != nil
	}
	return true
}

func (a *Adapter) encodeChat(ctx context.Context, call provider.Call) (*http.Request, error) {
	if a.config.API == apiResponses {
		return a.encodeBody(ctx, call, pathResponses, a.conversation)
	}
	return a.encodeBody(ctx, call, pathChat, a.body)
}

func (a *Adapter) encodeBody(
	ctx context.Context, call provider.Call, path string, body func(provider.Call) ([]byte, error),
) (*http.Request, error) {
	b, err := body(call)
	if err != nil {
		return nil, err
	}
	return a.Post(ctx, call, path, b)
}

// EncodeProbe implements [provider.ProbeEncoder]: listing models costs nothing.
func (a *Adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	return a.Get(ctx, provider.Call{Request: &schemas.Request{Op: schemas.OpModels}}, pathModels)
}

// What the API takes by value: recordings of at most 25 MB, films and documents of at
// most 50.
const (
	maxRecording = 25 << 20
	maxDocument  = 50 << 20
)

// Inlines implements [provider.Inliner]. Pictures go by URL, and so do sounds and
// documents where the dialect has parts for that.
func (a *Adapter) Inlines(op schemas.Operation, kind schemas.PartKind) int64 {
	switch {
	case op == schemas.OpTranscribe:
		return maxRecording
	case op == schemas.OpFileUpload || op == schemas.OpVideo:
		return maxDocument
	case op != schemas.OpChat:
		return 0
	case kind == schemas.PartAudio && !a.config.MediaURL:
		return maxRecording
	case kind == schemas.PartFile && a.config.API != apiResponses:
		return maxDocument
	}
	return 0
}

// Decode implements [provider.Adapter].
func (a *Adapter) Decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if res.StatusCode/100 != 2 {
		return nil, a.Refusal(res)
	}
	if !call.Request.Stream {
		emit = nil
	}
	answer, err := a.read(res, call, emit)
	return a.Sign(res, answer, err)
}
