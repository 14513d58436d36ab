package anthropic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// The marks of turns in prompts of the API for completions.
const (
	humanTurn     = "\n\nHuman:"
	assistantTurn = "\n\nAssistant:"
)

// complete asks the API for completions, which the vendor keeps for old models.
func (a *adapter) complete(ctx context.Context, call provider.Call) (*http.Request, error) {
	req := call.Request
	prompt, err := promptOf(req)
	if err != nil {
		return nil, err
	}
	limit := a.config.DefaultMaxTokens
	if req.MaxTokens != nil {
		limit = *req.MaxTokens
	}
	b := jsontext.AppendString(jsontext.AppendField([]byte{'{'}, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "prompt"), prompt)
	b = strconv.AppendInt(jsontext.AppendField(b, "max_tokens_to_sample"), limit, 10)
	if b, err = sampling(b, req.Sampling); err != nil {
		return nil, err
	}
	b = endUser(b, req.EndUser)
	if req.Stream {
		b = append(jsontext.AppendField(b, "stream"), "true"...)
	}
	b = append(b, '}')
	if ext := req.Ext[vendor]; len(ext) > 0 {
		if b, err = wire.Overlay(b, "ext."+vendor, ext, "model", "prompt", "stream"); err != nil {
			return nil, err
		}
	}
	return a.post(ctx, a.base.JoinPath("v1/complete"), call, b), nil
}

// promptOf returns the messages as the API wants them: turns with a mark before
// each, and a mark at the end for the answer. A text that has them already is left
// as it is.
func promptOf(req *schemas.Request) (string, error) {
	var b strings.Builder
	for i := range req.Messages {
		m := &req.Messages[i]
		for j := range m.Parts {
			if m.Parts[j].Kind != schemas.PartText {
				return "", wire.Unsupported(field(i, j), "is not text: a completion takes nothing else")
			}
		}
		said := m.Text()
		switch {
		case strings.Contains(said, humanTurn):
			b.WriteString(said)
		case m.Role == schemas.RoleSystem || m.Role == schemas.RoleDeveloper:
			b.WriteString(said)
		case m.Role == schemas.RoleAssistant:
			b.WriteString(assistantTurn + " " + said)
		default:
			b.WriteString(humanTurn + " " + said)
		}
	}
	prompt := b.String()
	if strings.LastIndex(prompt, assistantTurn) <= strings.LastIndex(prompt, humanTurn) {
		prompt += assistantTurn
	}
	return prompt, nil
}

// completion is an answer to complete, or a piece of one.
type completion struct {
	kind, id, model, text, reason, stop string
	refused                             bool
}

func (c *completion) parse(data []byte) error {
	at := jsontext.NewCursor(data)
	if at.Object() {
		for at.Key() {
			switch string(at.Name()) {
			case "type":
				c.kind = at.Text()
			case "id":
				c.id = at.Text()
			case "model":
				c.model = at.Text()
			case "completion":
				c.text = at.Text()
			case "stop_reason":
				c.reason = at.Text()
			case "stop":
				c.stop = at.Text()
			case "error":
				c.refused = string(at.Raw()) != "null"
			default:
				at.Skip()
			}
		}
	}
	return at.End()
}

// completed reads the answer to complete. The vendor tells no usage.
func (a *adapter) completed(res *http.Response, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	r := reader{answer: answer, req: req, secret: a.config.APIKey.Reveal()}
	form, body := open(res, req.Stream)
	switch form {
	case wire.Events:
		return r.completions(body)
	case wire.JSON:
		raw, err := wire.ReadAll(body, res.ContentLength)
		if err != nil {
			return nil, err
		}
		if !json.Valid(raw) || !bytes.Contains(raw, []byte(`"completion"`)) && !bytes.Contains(raw, []byte(`"error"`)) {
			return nil, wire.Malformed("it is not the JSON of a completion", nil)
		}
		if _, err := r.completion(raw); err != nil {
			return nil, err
		}
		return r.end()
	}
	return nil, formless()
}

// completions reads a stream. The piece with a stop reason is the last.
func (r *reader) completions(from io.Reader) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	for {
		ev, err := events.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, r.answer.Interrupted(r.req, err)
		}
		done, err := r.completion(ev.Data)
		switch {
		case err != nil && ev.Cut:
			return nil, r.answer.Interrupted(r.req, err)
		case err != nil:
			return nil, r.answer.Broken(r.req, schemas.AsFailure(err))
		case r.answer.Err() != nil:
			return nil, r.answer.Unheard(r.req)
		case done:
			return r.end()
		}
	}
}

// completion takes in an answer or a piece of one.
func (r *reader) completion(data []byte) (done bool, err error) {
	var c completion
	if err := c.parse(data); err != nil {
		return false, wire.Malformed("it is not the JSON of a completion", err)
	}
	switch {
	case c.kind == "error" || c.refused:
		return false, told(data, r.secret)
	case c.kind == "ping":
		return false, nil
	}
	r.answer.Begin(c.id, c.model)
	r.answer.Open(only)
	r.answer.Text(only, c.text)
	r.finish(&stop{reason: c.reason, sequence: c.stop})
	return c.reason != "", nil
}
