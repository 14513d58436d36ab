package openai

import (
	"bufio"
	"io"
	"net/http"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

func (a *Adapter) read(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	switch call.Request.Operation() {
	case schemas.OpChat, schemas.OpComplete:
		if !a.config.ThinkTags {
			return a.readChat(res, call.Request, wire.NewAnswer(emit))
		}
		thoughts := wire.NewThoughts(emit)
		if emit != nil {
			emit = thoughts.Emit
		}
		answer, err := a.readChat(res, call.Request, wire.NewAnswer(emit))
		thoughts.Split(answer)
		return answer, err
	case schemas.OpCountTokens:
		return a.readCount(res)
	case schemas.OpEmbed:
		return a.readEmbeddings(res, call.Request)
	case schemas.OpModerate:
		return a.readModerations(res)
	case schemas.OpImage, schemas.OpImageEdit:
		return a.readImages(res, call.Request)
	case schemas.OpSpeech:
		return a.readSpeech(res, call.Request, emit)
	case schemas.OpTranscribe:
		return a.readTranscript(res, call.Request, wire.NewAnswer(emit))
	case schemas.OpVideo:
		return a.readVideo(res, call)
	case schemas.OpModels:
		return a.readModels(res)
	case schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete:
		return a.readFiles(res)
	}
	return nil, wire.Unsupported("op", "is not offered by this provider")
}

// Refusal returns the failure that an answer with an error status means.
func (a *Adapter) Refusal(res *http.Response) *schemas.Failure {
	f := a.interpret(wire.Refusal(res, a.variant.RequestID, a.config.APIKey.Reveal()))
	if a.variant.Interpret != nil {
		a.variant.Interpret(f, res.Header)
	}
	if f.Code == schemas.RateLimited && f.RetryAfterMS == 0 {
		f.RetryAfterMS = reset(res.Header).Milliseconds()
	}
	return f
}

// Sign completes what was read of res, an answer or an error, with what its
// headers say.
func (a *Adapter) Sign(res *http.Response, answer *schemas.Response, err error) (*schemas.Response, error) {
	if err != nil {
		f := schemas.AsFailure(err)
		f.HTTPStatus = res.StatusCode
		if f.UpstreamRequestID == "" {
			f.UpstreamRequestID = res.Header.Get(a.variant.RequestID)
		}
		if a.variant.Interpret != nil {
			a.variant.Interpret(f, res.Header)
		}
		return nil, f
	}
	answer.UpstreamReqID = res.Header.Get(a.variant.RequestID)
	if a.variant.Response != nil {
		a.variant.Response(answer, res.Header)
	}
	return answer, nil
}

// readChat reads an answer of any of the APIs for chats.
func (a *Adapter) readChat(res *http.Response, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	form, body := open(res, req.Stream)
	conversation := a.config.API == apiResponses && req.Operation() == schemas.OpChat
	switch {
	case form == wire.Events && conversation:
		return a.conversationStream(body, req, answer)
	case form == wire.Events:
		return a.stream(body, req, answer)
	case form == wire.JSON && conversation:
		return a.conversationWhole(body, res.ContentLength, req, answer)
	case form == wire.JSON: // also in answer to a request for a stream: some servers can't
		return a.whole(body, res.ContentLength, req, answer)
	}
	return nil, wire.Malformed("its content type is neither JSON nor an event stream", nil)
}

// open is [wire.Open], but looks at an answer that does not say what it is.
func open(res *http.Response, stream bool) (wire.Form, io.Reader) {
	if !stream || res.Header.Get("Content-Type") != "" {
		return wire.Open(res, stream)
	}
	r := bufio.NewReader(res.Body)
	if b, err := r.Peek(1); err == nil && b[0] == '{' {
		return wire.JSON, r
	}
	return wire.Events, r
}

// object reads an answer that is one JSON value, and refuses one that is an error
// with the status of a success.
func (a *Adapter) object(res *http.Response) ([]byte, error) {
	if form, _ := wire.Open(res, false); form != wire.JSON {
		return nil, wire.Malformed("its content type is not JSON", nil)
	}
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	return body, a.refused(body)
}

// refused returns the failure that body tells of, if it is an error.
func (a *Adapter) refused(body []byte) error {
	c := jsontext.NewCursor(body)
	if c.Kind() != '{' {
		return nil
	}
	c.Object()
	wrong := false
	for c.Key() {
		switch string(c.Name()) {
		case "error":
			wrong = said(c.Raw()) || wrong
		case "object":
			wrong = c.Text() == "error" || wrong
		default:
			c.Skip()
		}
	}
	if wrong {
		return a.told(body)
	}
	return nil
}
