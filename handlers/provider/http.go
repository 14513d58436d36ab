package provider

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// MaxBodyBytes bounds a vendor's answer: images come as base64 in JSON.
const MaxBodyBytes = 64 << 20

// Limits on reading an answer's rest for the sake of its connection.
const (
	drainBytes = 256 << 10
	drainWait  = 50 * time.Millisecond
)

// ProbeEncoder is the ability of an Adapter to word a question that costs
// nothing and shows whether the vendor answers.
type ProbeEncoder interface {
	EncodeProbe(ctx context.Context) (*http.Request, error)
}

// OverHTTP returns the provider that sends what a encodes with client's transport;
// nil means http.DefaultTransport. It is a [Prober] if a is a [ProbeEncoder], and a [Poller] if
// a is a [JobAdapter]. Redirects are not followed: they would carry the credential
// elsewhere.
func OverHTTP(a Adapter, client *http.Client) Provider {
	p := &overHTTP{adapter: a, transport: http.DefaultTransport, limit: MaxBodyBytes}
	if client != nil && client.Transport != nil {
		p.transport = client.Transport
	}
	e, probes := a.(ProbeEncoder)
	j, polls := a.(JobAdapter)
	switch {
	case probes && polls:
		return &struct {
			*probing
			*polling
		}{&probing{overHTTP: p, encoder: e}, &polling{http: p, jobs: j}}
	case probes:
		return &probing{overHTTP: p, encoder: e}
	case polls:
		return &struct {
			*overHTTP
			*polling
		}{p, &polling{http: p, jobs: j}}
	}
	return p
}

// NewTransport returns a transport for thousands of slow calls at once to a few
// hosts. How long a call may take is for its context to say.
func NewTransport() *http.Transport {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        0, // no limit but the one for each host
		MaxIdleConnsPerHost: 2048,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		// Answers are small, and a compressed event stream waits for its compressor.
		DisableCompression: true,
		// A connection that died silently would take all of its streams with it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

type overHTTP struct {
	adapter   Adapter
	transport http.RoundTripper
	limit     int64
}

// Infer implements [Provider].
func (p *overHTTP) Infer(ctx context.Context, call Call, emit Emit) (*schemas.Response, error) {
	call, err := inline(ctx, p.adapter, call)
	if err != nil {
		return nil, overdue(ctx, schemas.AsFailure(err))
	}
	call, handed, err := p.handOver(ctx, call)
	if err != nil {
		return nil, overdue(ctx, schemas.AsFailure(err))
	}
	res, err := p.ask(ctx, call, emit)
	if err == nil && res.Pending() && call.Keep != nil && len(handed) > 0 {
		call.Keep(handed) // the job goes on reading it
	} else {
		p.takeBack(ctx, call, handed)
	}
	return res, err
}

// ask makes the exchange of a call.
func (p *overHTTP) ask(ctx context.Context, call Call, emit Emit) (*schemas.Response, error) {
	traced, sent := noticeConnection(ctx)
	req, err := p.adapter.Encode(traced, call)
	if err != nil {
		f := schemas.AsFailure(err)
		f.Phase = schemas.PhaseLocal
		return nil, f
	}
	res, err := p.send(ctx, req, sent) //nolint:bodyclose // release closes it
	if err != nil {
		return nil, err
	}
	defer release(res)
	if call.RateLimit != nil {
		if said, ok := wire.ReadRateLimit(res.Header, time.Now()); ok {
			call.RateLimit(said)
		}
	}
	answer, err := p.adapter.Decode(res, call, emit)
	if err != nil {
		return nil, overdue(ctx, schemas.AsFailure(err))
	}
	return answer, nil
}

type polling struct {
	http *overHTTP
	jobs JobAdapter
}

// Poll implements [Poller]. Its error is a *schemas.Failure.
func (p *polling) Poll(ctx context.Context, call Call, job schemas.Job, emit Emit) (*schemas.Response, error) {
	traced, sent := noticeConnection(ctx)
	req, err := p.jobs.EncodePoll(traced, call, job)
	if err != nil {
		return nil, schemas.AsFailure(err)
	}
	res, err := p.http.send(ctx, req, sent) //nolint:bodyclose // release closes it
	if err != nil {
		return nil, err
	}
	defer release(res)
	answer, err := p.jobs.Decode(res, call, emit)
	if err != nil {
		f := overdue(ctx, schemas.AsFailure(err))
		if f.HTTPStatus/100 == 2 || f.Code == schemas.Cancelled && ctx.Err() == nil {
			p.http.takeBack(ctx, call, call.Handed) // the job itself failed
		}
		return nil, f
	}
	if !answer.Pending() {
		p.http.takeBack(ctx, call, call.Handed)
	}
	return answer, nil
}

// Cancel implements [Poller]. Its error is a *schemas.Failure.
func (p *polling) Cancel(ctx context.Context, call Call, job schemas.Job) error {
	traced, sent := noticeConnection(ctx)
	req, err := p.jobs.EncodeCancel(traced, call, job)
	if err != nil {
		return schemas.AsFailure(err)
	}
	if req == nil {
		return nil
	}
	res, err := p.http.send(ctx, req, sent) //nolint:bodyclose // release closes it
	if err != nil {
		return err
	}
	defer release(res)
	switch {
	case res.StatusCode/100 == 2, res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusConflict, res.StatusCode == http.StatusGone:
		p.http.takeBack(ctx, call, call.Handed)
		return nil
	}
	f := schemas.Fail(schemas.Unavailable, "the provider did not cancel its job", nil)
	f.HTTPStatus = res.StatusCode
	return f
}

type probing struct {
	*overHTTP
	encoder ProbeEncoder
}

// Probe implements [Prober]. Its error is a *schemas.Failure.
func (p *probing) Probe(ctx context.Context) error {
	traced, sent := noticeConnection(ctx)
	req, err := p.encoder.EncodeProbe(traced)
	if err != nil {
		return schemas.AsFailure(err)
	}
	res, err := p.send(ctx, req, sent) //nolint:bodyclose // release closes it
	if err != nil {
		return err
	}
	defer release(res)
	if res.StatusCode/100 == 2 {
		return nil
	}
	_, err = p.adapter.Decode(res, Call{Request: &schemas.Request{}}, nil)
	return overdue(ctx, schemas.AsFailure(err))
}

// noticeConnection returns the context for a request and what tells whether it was
// given a connection. The transport is asked and not the body: a body of another
// type than the library's own is written apart from the headers, which costs a
// system call.
func noticeConnection(ctx context.Context) (context.Context, *atomic.Bool) {
	sent := new(atomic.Bool)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}), sent
}

// send returns the answer with a bounded body, or a *schemas.Failure. It asks the
// transport itself: a client would follow redirects, keep cookies and copy headers
// for both. req was made with the context that came with sent.
func (p *overHTTP) send(ctx context.Context, req *http.Request, sent *atomic.Bool) (*http.Response, error) {
	if u := req.URL.User; u != nil && req.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	res, err := p.transport.RoundTrip(req)
	if err != nil {
		return nil, unsent(ctx, err, sent.Load())
	}
	res.Body = &boundedBody{body: res.Body, left: p.limit + 1}
	return res, nil
}

// unsent translates an error of the transport. Its text may hold an address but
// no header, and so no credential.
func unsent(ctx context.Context, err error, sent bool) *schemas.Failure {
	f := schemas.Fail(schemas.Network, "the connection to the provider broke before it answered", err)
	f.Phase = schemas.PhaseSent
	if !sent {
		f.Code, f.Message = schemas.Unavailable, "no connection to the provider"
		f.Phase = schemas.PhaseConnect
	}
	return overdue(ctx, f)
}

// overdue returns f, unless what looks like a broken connection is only the end
// of ctx.
func overdue(ctx context.Context, f *schemas.Failure) *schemas.Failure {
	if ctx.Err() == nil {
		return f
	}
	switch f.Code {
	case schemas.Network, schemas.Unavailable, schemas.StreamInterrupted, schemas.Internal:
	default:
		return f
	}
	if f.VendorCode != "" || f.HTTPStatus >= http.StatusBadRequest {
		return f
	}
	g := schemas.Fail(schemas.Cancelled, "the call was cancelled", context.Cause(ctx))
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		g = schemas.Fail(schemas.Timeout, "the provider did not answer in time", context.Cause(ctx))
	}
	g.Phase, g.Usage = f.Phase, f.Usage
	g.HTTPStatus, g.UpstreamRequestID = f.HTTPStatus, f.UpstreamRequestID
	return g
}

// boundedBody is a body that fails beyond a limit.
type boundedBody struct {
	body  io.ReadCloser
	left  int64 // one more than allowed, to see whether there is more
	ended bool
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	if b.left -= int64(n); b.left <= 0 {
		return n, schemas.Fail(schemas.MalformedResponse, "the provider's answer is above the size limit", nil)
	}
	b.ended = b.ended || err != nil
	return n, err
}

func (b *boundedBody) Close() error { return b.body.Close() }

// release closes the body of res. It first reads what little may be left of it,
// so that the connection can serve the next call, but gives up soon: a vendor
// may keep a stream open after its end.
func release(res *http.Response) {
	defer func() { _ = res.Body.Close() }()
	if b, ok := res.Body.(*boundedBody); ok && b.ended {
		return
	}
	enough := time.AfterFunc(drainWait, func() { _ = res.Body.Close() })
	defer enough.Stop()
	_, _ = io.CopyN(io.Discard, res.Body, drainBytes)
}
