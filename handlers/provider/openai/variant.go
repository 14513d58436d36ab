package openai

import (
	"net/http"
	"net/url"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// Variant is how a copy of the API differs from OpenAI's where a [Config] cannot
// say it. A vendor's folder makes an [Adapter] of it and has the rest of its
// operations beside:
//
//	type Adapter struct{ *openai.Adapter }
//
//	func (a adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
//		if call.Request.Operation() == schemas.OpRerank {
//			return a.rerank(ctx, call)
//		}
//		return a.Adapter.Encode(ctx, call)
//	}
//
// All hooks may be nil. They are called at the same time by many calls.
type Variant struct {
	// Name is the vendor's kind: the key of its own fields in Ext.
	Name string
	// Operations are those that are offered in OpenAI's form; nil: all of them.
	Operations []schemas.Operation
	// KeyHeader is the header that takes the key as it is; empty: the key goes into
	// Authorization, behind Bearer.
	KeyHeader string
	// RequestID is the header with the vendor's id of an HTTP request; empty:
	// X-Request-Id.
	RequestID string
	// Words are the vendor's error codes and types, over OpenAI's.
	Words map[string]schemas.Code

	// Address returns where a call goes. path is as below OpenAI's base URL, such as
	// chat/completions. The URL may be shared.
	Address func(path string, call provider.Call) (*url.URL, error)
	// Header changes the headers of a call, which are its own.
	Header func(h http.Header, call provider.Call) error
	// Fields appends fields to the JSON object of a call's body, which is still
	// open. See [jsontext.AppendField].
	Fields func(b []byte, call provider.Call) ([]byte, error)
	// Interpret has the last word on a failure, which is complete. h are the headers
	// it came with.
	Interpret func(f *schemas.Failure, h http.Header)
	// Usage has the last word on usage. raw is as the vendor said it.
	Usage func(u *schemas.Usage, raw []byte)
	// Response has the last word on an answer. h are the headers it came with.
	Response func(res *schemas.Response, h http.Header)
}
