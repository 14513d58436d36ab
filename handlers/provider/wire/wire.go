// Package wire has what the HTTP APIs of AI vendors have in common: JSON
// bodies, event streams, error bodies, advice on when to ask again, and answers
// that arrive in pieces. Adapters are written with it; nobody else needs it.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// Post returns the request that sends body to u. It keeps u, h and body: h must
// be the request's own, u may be shared.
//
// A key under "idempotency-key" in h is spelled in lower case on purpose: under
// its canonical name net/http would take the header as leave to repeat a POST
// that may have been executed already, and no vendor of chat models honours it.
func Post(ctx context.Context, u *url.URL, h http.Header, body []byte) *http.Request {
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req := newRequest(http.MethodPost, u, h)
	req.ContentLength = int64(len(body))
	req.Body, _ = open()
	req.GetBody = open
	return req.WithContext(ctx)
}

// Get returns the request that fetches u. It keeps u and h as Post does.
func Get(ctx context.Context, u *url.URL, h http.Header) *http.Request {
	return newRequest(http.MethodGet, u, h).WithContext(ctx)
}

func newRequest(method string, u *url.URL, h http.Header) *http.Request {
	return &http.Request{
		Method: method, URL: u, Host: u.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

// IdempotencyKey is the header's name as Post wants it.
const IdempotencyKey = "idempotency-key"

// Form is what a body holds, by its content type.
type Form int

// The forms.
const (
	JSON   Form = iota
	Events      // server-sent events
	Other
)

// Open tells the form of an answer and returns where to read it from, which
// takes the place of res.Body but is not closed. stream is whether a stream was
// asked for: it decides where the vendor does not say, and then a body that
// claims to be JSON is believed only if it begins like it.
func Open(res *http.Response, stream bool) (Form, io.Reader) {
	form := formOf(res.Header.Get("Content-Type"), stream)
	if form != JSON || !stream {
		return form, res.Body
	}
	r := bufio.NewReader(res.Body)
	for {
		switch b, err := r.Peek(1); {
		case err != nil || b[0] == '{':
			return JSON, r
		case b[0] == ' ' || b[0] == '\n' || b[0] == '\r' || b[0] == '\t':
			_, _ = r.Discard(1)
		default:
			return Events, r
		}
	}
}

func formOf(contentType string, stream bool) Form {
	switch contentType { // what vendors send, spared the parsing
	case "":
		if stream {
			return Events
		}
		return JSON
	case "application/json":
		return JSON
	case "text/event-stream", "text/event-stream; charset=utf-8":
		return Events
	}
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return Other
	case media == "text/event-stream":
		return Events
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		return JSON
	}
	return Other
}

// ReadAll reads r to its end. size is the length that the vendor promised, or
// -1. The failure is one that Decode may return: network, unless whoever bounded
// the body says otherwise.
func ReadAll(r io.Reader, size int64) ([]byte, error) {
	const most = 1 << 20 // to allocate on the vendor's word alone
	size = min(size, most)
	if size < 0 {
		size = 2 << 10
	}
	buf := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	if _, err := buf.ReadFrom(r); err != nil {
		return nil, ReadFailure(err)
	}
	return buf.Bytes(), nil
}

// ReadFailure is the failure to return when an answer's body cannot be read to
// its end.
func ReadFailure(err error) *schemas.Failure {
	f := schemas.Fail(schemas.Network, "the connection broke before the answer was complete", err)
	if own, ok := errors.AsType[*schemas.Failure](err); ok {
		f.Code, f.Message = own.Code, own.Message
	}
	f.Phase = schemas.PhaseBody
	return f
}

// Malformed is the failure for an answer that is not in the vendor's form.
func Malformed(why string, err error) *schemas.Failure {
	f := schemas.Fail(schemas.MalformedResponse, "the provider's answer could not be understood: "+why, err)
	f.Phase = schemas.PhaseBody
	return f
}

// Unsupported is the failure for what a vendor cannot express. param names the
// field.
func Unsupported(param, why string) *schemas.Failure {
	return &schemas.Failure{Code: schemas.Unsupported, Param: param, Message: param + " " + why, Phase: schemas.PhaseLocal}
}

// Invalid is the failure for a request that no vendor could make sense of.
func Invalid(param, why string) *schemas.Failure {
	return &schemas.Failure{Code: schemas.InvalidRequest, Param: param, Message: param + " " + why, Phase: schemas.PhaseLocal}
}
