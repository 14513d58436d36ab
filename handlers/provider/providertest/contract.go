package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func answers(t *testing.T, newProvider New, d Dialect) {
	var want schemas.Response
	if err := json.Unmarshal([]byte(d.read(t, "want.json")), &want); err != nil {
		t.Fatalf("reading want.json: %v", err)
	}
	plain, streamed := d.read(t, "answer.json"), d.read(t, "answer.sse")

	t.Run("an answer is decoded", func(t *testing.T) {
		v := serve(t, reply(200, jsonType, plain))
		same(t, "answer", ask(t.Context(), t, newProvider(t, v.url, v.client), false).res, &want)
	})
	t.Run("a stream gives the same answer", func(t *testing.T) {
		v := serve(t, reply(200, eventsType, streamed))
		o := ask(t.Context(), t, newProvider(t, v.url, v.client), true)
		same(t, "answer", o.res, &want)
		same(t, "the sum of the chunks", sum(o.chunks), &want)
	})
	t.Run("a stream in any line ends and pieces is the same", func(t *testing.T) {
		v := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", eventsType)
			body := ": hello\r\n\r\n" + strings.ReplaceAll(streamed, "\n", "\r\n")
			for i := 0; i < len(body); i += 7 {
				_, _ = io.WriteString(w, body[i:min(i+7, len(body))])
				_ = http.NewResponseController(w).Flush()
			}
		})
		same(t, "answer", ask(t.Context(), t, newProvider(t, v.url, v.client), true).res, &want)
	})
	t.Run("JSON in answer to a request for a stream is an answer", func(t *testing.T) {
		v := serve(t, reply(200, jsonType, plain))
		o := ask(t.Context(), t, newProvider(t, v.url, v.client), true)
		same(t, "answer", o.res, &want)
		if len(o.chunks) == 0 {
			t.Error("no chunk was emitted")
		}
	})
	t.Run("an error of emit ends the call", func(t *testing.T) {
		v := serve(t, half(streamed, hang))
		enough := errors.New("enough")
		n := 0
		_, err := newProvider(t, v.url, v.client).Infer(t.Context(), provider.Call{Request: Request(true), Model: "m"},
			func(schemas.Chunk) error { n++; return enough })
		if !errors.Is(err, enough) || n != 1 {
			t.Errorf("error %v after %d chunks, want emit's own after 1", err, n)
		}
	})
}

func refusals(t *testing.T, newProvider New, d Dialect) {
	tests := []struct {
		name    string
		answer  http.HandlerFunc
		code    schemas.Code
		retryMS int64
		noRetry bool
	}{
		{"auth", reply(401, jsonType, d.read(t, "error_auth.json")), schemas.Auth, 0, false},
		{"context length", reply(400, jsonType, d.read(t, "error_context_length.json")), schemas.ContextLength, 0, false},
		{"429", reply(429, jsonType, d.read(t, "error_rate_limited.json")), schemas.RateLimited, 0, false},
		{"429 with Retry-After", reply(429, jsonType, d.read(t, "error_rate_limited.json"), "Retry-After", "7"), schemas.RateLimited, 7000, false},
		{"429 with Retry-After-Ms", reply(429, jsonType, d.read(t, "error_rate_limited.json"), "Retry-After-Ms", "250", "Retry-After", "1"), schemas.RateLimited, 250, false},
		{"500", reply(500, jsonType, d.read(t, "error_internal.json")), schemas.Internal, 0, false},
		{"500 that forbids a retry", reply(500, jsonType, d.read(t, "error_internal.json"), "X-Should-Retry", "false"), schemas.Internal, 0, true},
		{"529", reply(529, jsonType, d.read(t, "error_overloaded.json")), schemas.Overloaded, 0, false},
		{"502 with HTML", reply(502, "text/html", "<html><body>Bad gateway</body></html>"), schemas.Unavailable, 0, false},
		{"503 with nothing", reply(503, "text/plain", ""), schemas.Unavailable, 0, false},
		{"413 with HTML", reply(413, "text/html", "<html>too large</html>"), schemas.PayloadTooLarge, 0, false},
		{"a redirect", reply(307, "text/plain", "", "Location", "http://127.0.0.1:1/"), schemas.Unavailable, 0, false},
	}
	for _, tt := range tests {
		for _, stream := range []bool{false, true} {
			t.Run(name(tt.name, stream), func(t *testing.T) {
				v := serve(t, tt.answer)
				f := ask(t.Context(), t, newProvider(t, v.url, v.client), stream).failure
				if f == nil || f.Code != tt.code || f.RetryAfterMS != tt.retryMS || f.NoRetry != tt.noRetry ||
					f.Phase != schemas.PhaseHeaders || f.HTTPStatus == 0 || f.Message == "" {
					t.Errorf("failure %+v, want %s, %d ms, no retry %v, with phase, status and message",
						f, tt.code, tt.retryMS, tt.noRetry)
				}
				if n := v.calls.Load(); n != 1 {
					t.Errorf("%d calls, want one attempt", n)
				}
			})
		}
	}
	t.Run("an error in mid-stream", func(t *testing.T) {
		v := serve(t, reply(200, eventsType, d.read(t, "error.sse")))
		o := ask(t.Context(), t, newProvider(t, v.url, v.client), true)
		if f := o.failure; f == nil || f.Code != schemas.Overloaded || f.Phase != schemas.PhaseOutput || f.Usage == nil {
			t.Errorf("failure %+v, want overloaded in the output, with usage", f)
		}
	})
}

func name(s string, stream bool) string {
	if stream {
		return s + ", streamed"
	}
	return s
}

func accidents(t *testing.T, newProvider New, d Dialect) {
	streamed := d.read(t, "answer.sse")
	spaces := strings.Repeat(" ", 1<<20)
	flood := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, spaces); err != nil {
				return
			}
		}
	}
	tests := []struct {
		name   string
		stream bool
		answer http.HandlerFunc
		limit  time.Duration // of the call; 0: none
		code   schemas.Code
		phase  schemas.Phase
	}{
		{"reset before the headers", false, func(_ http.ResponseWriter, r *http.Request) { reset(r) }, 0, schemas.Network, schemas.PhaseSent},
		{"silence", false, func(_ http.ResponseWriter, r *http.Request) { hang(r) }, patience, schemas.Timeout, schemas.PhaseSent},
		{"a stream that is reset", true, half(streamed, reset), 0, schemas.StreamInterrupted, schemas.PhaseOutput},
		{"a stream that just ends", true, half(streamed, func(*http.Request) {}), 0, schemas.StreamInterrupted, schemas.PhaseOutput},
		{"a stream that stalls", true, half(streamed, hang), patience, schemas.Timeout, schemas.PhaseOutput},
		{"an empty stream", true, reply(200, eventsType, ""), 0, schemas.StreamInterrupted, schemas.PhaseBody},
		{"a stream with a broken chunk", true, reply(200, eventsType, "data: {\"a\":\n\n"+streamed), 0, schemas.MalformedResponse, schemas.PhaseBody},
		{"an answer that is no JSON", false, reply(200, jsonType, `{"choices":`), 0, schemas.MalformedResponse, schemas.PhaseBody},
		{"an answer that is empty", false, reply(200, jsonType, "{}"), 0, schemas.MalformedResponse, schemas.PhaseBody},
		{"an answer that is HTML", false, reply(200, "text/html", "<html>"), 0, schemas.MalformedResponse, schemas.PhaseBody},
		{"an answer without end", false, flood, 0, schemas.MalformedResponse, schemas.PhaseBody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := serve(t, tt.answer)
			ctx := t.Context()
			if tt.limit > 0 {
				short, cancel := context.WithTimeout(ctx, tt.limit)
				defer cancel()
				ctx = short
			}
			began := time.Now()
			o := ask(ctx, t, newProvider(t, v.url, v.client), tt.stream)
			f := o.failure
			if f == nil || f.Code != tt.code || f.Phase != tt.phase {
				t.Fatalf("failure %+v, want %s in phase %s", f, tt.code, tt.phase)
			}
			if f.Phase == schemas.PhaseOutput && (f.Usage == nil || f.Usage.OutputTokens == 0) {
				t.Errorf("usage %+v, want what the vendor will bill, if only estimated", f.Usage)
			}
			if tt.limit > 0 && time.Since(began) > tt.limit+2*time.Second {
				t.Errorf("returned %v after the deadline", time.Since(began)-tt.limit)
			}
		})
	}
	t.Run("a refused connection", func(t *testing.T) {
		p := newProvider(t, "http://127.0.0.1:1", &http.Client{Transport: provider.NewTransport()})
		f := ask(t.Context(), t, p, false).failure
		if f == nil || f.Code != schemas.Unavailable || f.Phase != schemas.PhaseConnect {
			t.Errorf("failure %+v, want unavailable in phase connect", f)
		}
	})
	t.Run("a cancelled call", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		v := serve(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); hang(r) })
		f := ask(ctx, t, newProvider(t, v.url, v.client), false).failure
		if f == nil || f.Code != schemas.Cancelled || !errors.Is(f, context.Canceled) {
			t.Errorf("failure %+v, want cancelled", f)
		}
	})
	// A POST that was sent may have been executed and billed. net/http would repeat
	// it by itself if it had a reused connection and a header Idempotency-Key.
	t.Run("a call that was sent is not repeated", func(t *testing.T) {
		plain := reply(200, jsonType, d.read(t, "answer.json"))
		first := make(chan struct{}, 1)
		first <- struct{}{}
		v := serve(t, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-first:
				plain(w, r)
			default:
				reset(r)
			}
		})
		p := newProvider(t, v.url, v.client)
		ask(t.Context(), t, p, false)
		f := ask(t.Context(), t, p, false).failure
		if f == nil || f.Phase != schemas.PhaseSent || v.calls.Load() != 2 || v.connections.Load() != 1 {
			t.Errorf("failure %+v after %d calls on %d connections, want 2 on 1", f, v.calls.Load(), v.connections.Load())
		}
	})
}

func manners(t *testing.T, newProvider New, d Dialect) {
	plain, streamed := d.read(t, "answer.json"), d.read(t, "answer.sse")
	for _, stream := range []bool{false, true} {
		t.Run(name("connections are reused", stream), func(t *testing.T) {
			answer := reply(200, jsonType, plain)
			if stream { // the end of the body comes behind the end of the answer
				answer = func(w http.ResponseWriter, r *http.Request) {
					reply(200, eventsType, streamed)(w, r)
					_ = http.NewResponseController(w).Flush()
				}
			}
			v := serve(t, answer)
			p := newProvider(t, v.url, v.client)
			for range 5 {
				ask(t.Context(), t, p, stream)
			}
			if n := v.connections.Load(); n != 1 {
				t.Errorf("%d connections for 5 calls, want 1", n)
			}
		})
	}
	t.Run("refusals leave the connection usable", func(t *testing.T) {
		v := serve(t, reply(500, jsonType, `{"error":{"message":"`+strings.Repeat("x", 100<<10)+`"}}`))
		p := newProvider(t, v.url, v.client)
		for range 3 {
			ask(t.Context(), t, p, false)
		}
		if n := v.connections.Load(); n != 1 {
			t.Errorf("%d connections for 3 calls, want 1", n)
		}
	})
	t.Run("calls may be made at once", func(t *testing.T) {
		v := serve(t, reply(200, jsonType, plain))
		p := newProvider(t, v.url, v.client)
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for range 3 {
					if o := ask(t.Context(), t, p, false); o.failure != nil {
						t.Errorf("failure: %+v", o.failure)
					}
				}
			})
		}
		wg.Wait()
	})
	t.Run("a probe tells whether the vendor answers", func(t *testing.T) {
		v := serve(t, reply(200, jsonType, `{"data":[]}`))
		well, ok := newProvider(t, v.url, v.client).(provider.Prober)
		if !ok {
			t.Skip("the provider cannot be probed")
		}
		if err := well.Probe(t.Context()); err != nil {
			t.Errorf("probing a healthy vendor: %v", err)
		}
		v = serve(t, reply(401, jsonType, d.read(t, "error_auth.json")))
		err := newProvider(t, v.url, v.client).(provider.Prober).Probe(t.Context())
		if f := schemas.AsFailure(err); f == nil || f.Code != schemas.Auth {
			t.Errorf("probing with a wrong key: %v, want auth", err)
		} else {
			checkSecret(t, f)
		}
	})
}

// sum puts chunks together as a reader of the stream would.
func sum(chunks []schemas.Chunk) *schemas.Response {
	var r schemas.Response
	var parts []schemas.Part
	at := func(i int) *schemas.Part {
		for len(parts) <= i {
			parts = append(parts, schemas.Part{})
		}
		return &parts[i]
	}
	r.Choices = []schemas.Choice{{Message: schemas.Message{Role: schemas.RoleAssistant}}}
	for _, c := range chunks {
		switch c.Type {
		case schemas.ChunkStart:
			r.UpstreamID, r.Model = c.ID, c.Model
		case schemas.ChunkText:
			p := at(c.PartIndex)
			p.Kind, p.Text = schemas.PartText, p.Text+c.Text
		case schemas.ChunkToolCallStart:
			call := *c.ToolCall
			*at(c.PartIndex) = schemas.Part{Kind: schemas.PartToolCall, ToolCall: &call}
		case schemas.ChunkToolCallDelta:
			at(c.PartIndex).ToolCall.Arguments += c.ToolCall.Arguments
		case schemas.ChunkFinish:
			r.Choices[0].Finish = *c.Finish
		case schemas.ChunkUsage:
			r.Usage = *c.Usage
		}
	}
	r.Choices[0].Message.Parts = parts
	return &r
}
