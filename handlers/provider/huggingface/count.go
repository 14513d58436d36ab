package huggingface

import (
	"context"
	"net/http"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// encodeCount returns the question how many tokens a chat has: TGI splits what it
// would be asked.
func (a *Adapter) encodeCount(ctx context.Context, call provider.Call) (*http.Request, error) {
	req := *call.Request
	req.Op, req.Stream = schemas.OpChat, false
	call.Request = &req
	asked, err := a.openai.Encode(ctx, ungrammared(call))
	if err != nil {
		return nil, err
	}
	asked.URL = a.base.JoinPath("chat_tokenize")
	return asked, nil
}

// readCount counts the tokens that a chat was split into.
func (a *Adapter) readCount(res *http.Response) (*schemas.Response, error) {
	b, err := a.body(res)
	if err != nil {
		return nil, err
	}
	n := int64(-1)
	c := jsontext.NewCursor(b)
	if c.Object() {
		for c.Key() {
			if string(c.Name()) == "tokenize_response" && c.Kind() == '[' {
				n = items(&c)
			} else {
				c.Skip()
			}
		}
	}
	if n < 0 {
		return nil, wire.Malformed("it holds no tokens", nil)
	}
	return &schemas.Response{Usage: schemas.Usage{InputTokens: n, Source: schemas.UsageReported}}, nil
}
