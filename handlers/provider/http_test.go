package provider

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// echo is an adapter without a dialect: the answer is the body, up to where a
// line says so.
type echo struct {
	url     string
	decoded func() // called when the answer was read, if not nil
}

func (e echo) Encode(ctx context.Context, _ Call) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader("hello"))
}

func (e echo) Decode(res *http.Response, _ Call, _ Emit) (*schemas.Response, error) {
	var b strings.Builder
	buf := make([]byte, 64)
	for !strings.HasSuffix(b.String(), "END") {
		n, err := res.Body.Read(buf)
		b.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if e.decoded != nil {
		e.decoded()
	}
	return &schemas.Response{UpstreamID: b.String()}, nil
}

func serve(t *testing.T, h http.HandlerFunc) *overHTTP {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	p, ok := OverHTTP(echo{url: s.URL}, s.Client()).(*overHTTP)
	if !ok {
		t.Fatal("a provider that cannot be probed claims that it can")
	}
	return p
}

func TestAVendorThatStaysOnTheLineDoesNotDelayTheAnswer(t *testing.T) {
	t.Parallel()
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "answer END")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	began := time.Now()
	res, err := p.Infer(t.Context(), Call{}, nil)
	if err != nil || res.UpstreamID != "answer END" {
		t.Fatalf("answer %+v, error %v", res, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v, want about %v", took, drainWait)
	}
}

// A stream is over for us with the vendor's last event. Its end on the wire comes
// behind that, and unless it is read, the connection is lost.
func TestTheEndOfABodyIsReadForTheSakeOfTheConnection(t *testing.T) {
	t.Parallel()
	decoded := make(chan struct{}, 1)
	addresses := make(chan string, 3)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addresses <- r.RemoteAddr
		_, _ = io.WriteString(w, "answer END")
		_ = http.NewResponseController(w).Flush()
		<-decoded
	}))
	t.Cleanup(s.Close)
	p := OverHTTP(echo{url: s.URL, decoded: func() { decoded <- struct{}{} }}, s.Client())
	for range cap(addresses) {
		if _, err := p.Infer(t.Context(), Call{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	first := <-addresses
	for range cap(addresses) - 1 {
		if next := <-addresses; next != first {
			t.Errorf("called from %s and then from %s, want one connection", first, next)
		}
	}
}

func TestAnAnswerMayBeAsLargeAsTheLimitAndNoLarger(t *testing.T) {
	t.Parallel()
	p := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1000)) })
	p.limit = 1000
	if _, err := p.Infer(t.Context(), Call{}, nil); err != nil {
		t.Errorf("an answer of the limit's size: %v", err)
	}
	p.limit = 999
	_, err := p.Infer(t.Context(), Call{}, nil)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.MalformedResponse {
		t.Errorf("an answer above the limit: %v, want malformed_response", err)
	}
}

func TestTheReasonOfACancellationIsKept(t *testing.T) {
	t.Parallel()
	reason := errors.New("partition was lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	p := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel(reason)
		<-r.Context().Done()
	})
	_, err := p.Infer(ctx, Call{}, nil)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.Cancelled || !errors.Is(err, reason) || f.Phase != schemas.PhaseSent {
		t.Errorf("failure %+v, want cancelled after the request was sent, for the reason given", f)
	}
}

func TestACallThatIsAlreadyOverdueIsNotSent(t *testing.T) {
	t.Parallel()
	p := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the vendor was called") })
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := p.Infer(ctx, Call{}, nil)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.Timeout || f.Phase != schemas.PhaseConnect {
		t.Errorf("failure %+v, want timeout before anything was sent", f)
	}
}
