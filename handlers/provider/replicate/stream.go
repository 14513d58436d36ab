package replicate

import (
	"errors"
	"io"
	"net/url"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// streamAt returns the address of a stream if the credential may be sent there.
func (a *Adapter) streamAt(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || !a.trusted(u) {
		return "", false
	}
	u.Fragment = ""
	return u.String(), true
}

// stream reads an output that comes as events. It is complete with done. id is
// the prediction's, empty if it isn't known: then there is nobody to ask what was
// used.
func (a *Adapter) stream(from io.Reader, call provider.Call, answer *wire.Answer, id string) (*schemas.Response, error) {
	req := call.Request
	answer.Begin(id, call.Model)
	answer.Open(only)
	events := wire.NewEventReader(from, 0)
	for {
		ev, err := events.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, answer.Interrupted(req, err)
		}
		switch string(ev.Name) {
		case "output":
			answer.Text(only, string(ev.Data))
		case "error":
			f := interpret(a.broke(schemas.Internal, wire.ParseError(ev.Data).Message, "the prediction failed"))
			return nil, answer.Broken(req, f)
		case "done":
			return a.done(ev.Data, call, answer, id)
		case "":
			return nil, answer.Broken(req, wire.Malformed("an event of it has no name", nil))
		} // logs, and what the vendor may add
		if answer.Err() != nil {
			return nil, answer.Unheard(req)
		}
	}
}

// done ends a stream. Why it ended badly, too, is told with the prediction.
func (a *Adapter) done(data []byte, call provider.Call, answer *wire.Answer, id string) (*schemas.Response, error) {
	req := call.Request
	if plainID(id) && id != streamed {
		return a.waiting(call, &prediction{id: id, status: "processing"}, streamed), nil
	}
	c := jsontext.NewCursor(find(data, "reason"))
	switch reason := c.Text(); reason {
	case "":
	case "canceled", "cancelled":
		return nil, answer.Broken(req, a.broke(schemas.Cancelled, "", "the prediction was cancelled"))
	default:
		return nil, answer.Broken(req, a.broke(schemas.Internal, "", "the prediction failed"))
	}
	answer.Finish(only, schemas.Finish{Reason: schemas.FinishStop, Raw: "succeeded"})
	res := answer.Response(req)
	if answer.Err() != nil {
		return nil, answer.Unheard(req)
	}
	return res, nil
}
