package simulate

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// maxBody is the largest request that Anthropic takes; OpenAI's limit is not published.
const maxBody = 32 << 20

// maxPooled keeps a rare large body from staying in memory for good.
const maxPooled = 256 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// call is one call on its way.
type call struct {
	sim       *Simulator
	instance  string
	dialect   *dialect
	to        endpoint
	behaviour *Behaviour
	w         http.ResponseWriter
	r         *http.Request

	seed   uint64 // of this call, which differs from a repetition of it
	answer answer
	fault  drawn
}

// errLeft says that there is nobody to answer any more.
var errLeft = errors.New("the caller left")

// run plays a call from its first byte to its end.
func (c *call) run() {
	started := time.Now()
	tally := c.sim.tally.Load()
	if c.behaviour.Down {
		count := c.start(tally, "")
		c.refuse(problem{refusal: refusedUnavailable})
		count.stop(resultRefused, outcomeDown)
		return
	}
	key, named, wrong := c.read(tally)
	count := c.start(tally, c.answer.model)
	if wrong == nil && !wait(c.r.Context(), c.latency()) {
		count.stop(resultCutOff, outcomeLeft)
		return
	}
	c.answer.created = time.Now()
	c.answer.took = c.answer.created.Sub(started)
	if wrong == nil && c.to.job != jobNone {
		wrong = c.step(tally)
	}
	r, o, abort := c.play(wrong)
	if r == resultFinished {
		tally.keys.finish(key, named)
	}
	count.stop(r, o)
	if abort {
		panic(http.ErrAbortHandler) // closes the connection without an end of the answer
	}
}

func (c *call) start(t *tally, model string) *counter {
	if len(model) > 128 {
		model = other
	}
	count := t.board.row(rowKey{instance: c.instance, dialect: c.dialect.segment, model: model})
	count.start()
	return count
}

// read takes the request in and settles what becomes of it. It gives the body's memory back before anything slow begins:
// thousands of calls wait at once.
func (c *call) read(t *tally) (key uint64, named bool, wrong *problem) {
	buf := buffers.Get().(*[]byte)
	body, err := readAll((*buf)[:0], c.r)
	defer func() {
		if cap(body) <= maxPooled {
			*buf = body[:0]
			buffers.Put(buf)
		}
	}()
	text := mix(c.sim.seed ^ xxhash.Sum64(body))
	if len(body) == 0 {
		text = mix(c.sim.seed ^ xxhash.Sum64String(c.r.URL.Path))
	}
	key = text
	if name := c.r.Header.Get("Idempotency-Key"); name != "" {
		key, named = mix(^c.sim.seed^xxhash.Sum64String(name)), true
	}
	attempt := t.keys.start(key, named)
	c.seed = random(key, uint64(attempt))
	switch {
	case !c.behaviour.acceptsKey(c.dialect.credential(c.r.Header)):
		return key, named, &problem{refusal: refusedAuth}
	case errors.Is(err, errTooLarge):
		return key, named, &problem{refusal: refusedTooLarge}
	case err != nil:
		return key, named, invalid("", "reading the body: it ended early")
	}
	return key, named, c.settle(body, text, attempt)
}

// settle parses the request and draws its answer and its fault.
func (c *call) settle(body []byte, text uint64, attempt int) *problem {
	q, wrong := c.to.format.parse(c.r.Header, body)
	if wrong != nil {
		return wrong
	}
	again := c.to.job != jobNone && c.to.job != jobCreate
	switch {
	case c.to.deployed, q.model == "" && !again:
		q.model = c.to.name
	}
	if q.model == "" && !again {
		return invalid("model", "you must provide a model parameter")
	}
	q.stream = q.stream || c.to.stream
	var order string
	q.model, order = splitModel(q.model)
	b := c.behaviour
	c.answer = answer{request: q, seed: c.seed, text: text}
	if c.to.job != jobNone {
		c.answer.base = c.base()
	}
	if !again && !b.knowsModel(q.model) {
		return &problem{refusal: refusedModel, model: q.model}
	}
	if b.Context > 0 && q.prompt > b.Context {
		return &problem{refusal: refusedContext, tokens: q.prompt, limit: b.Context}
	}
	if header := c.r.Header.Get("X-Sim-Fault"); header != "" {
		order = header
	}
	if order == "" {
		c.fault = b.drawFault(c.seed, attempt)
	} else {
		d, err := parseDirective(order)
		if err != nil {
			return invalid("", err.Error())
		}
		if d.fault.appliesTo(attempt) {
			c.fault = d.fault.settle(d.kind)
		}
	}
	if header := c.r.Header.Get("X-Sim-Latency"); header != "" {
		if _, err := parseLatency(header); err != nil {
			return invalid("", "X-Sim-Latency: "+err.Error())
		}
	}
	c.size()
	return nil
}

// base is the address of the dialect as the caller sees it.
func (c *call) base() string {
	path := "/" + c.dialect.segment
	if first, _, _ := strings.Cut(strings.TrimPrefix(c.r.URL.Path, "/"), "/"); first != c.dialect.segment {
		path = "/" + first + path
	}
	return "http://" + c.r.Host + path
}

// size draws how long the answer is and why it ends.
func (c *call) size() {
	a := &c.answer
	a.tokens = c.behaviour.Tokens.draw(c.seed)
	if a.maxTokens >= 0 && a.tokens > a.maxTokens {
		a.tokens, a.ending = a.maxTokens, endingLength
	}
	if a.tool != "" {
		a.ending = endingTool // the arguments stay whole, however short
	}
	if c.fault.fault == faultFilter {
		a.tokens, a.ending, a.tool = min(a.tokens, c.fault.after), endingFilter, ""
	}
	if c.behaviour.CachedShare > 0 && unit(c.seed, drawCached) < c.behaviour.CachedShare {
		a.cached = a.prompt / 2
	}
}

// latency is the wait before the first byte.
func (c *call) latency() time.Duration {
	if header := c.r.Header.Get("X-Sim-Latency"); header != "" {
		d, err := parseLatency(header)
		if err == nil {
			return d
		}
	}
	return c.behaviour.Latency.draw(c.seed)
}

// play gives the call its answer or its fault. With abort, the connection has to be closed as it is.
func (c *call) play(wrong *problem) (r result, o outcome, abort bool) {
	if wrong != nil {
		c.refuse(*wrong)
		return resultRefused, refusedBy(wrong.refusal), false
	}
	switch f := c.fault.fault; f {
	case faultRate, faultQuota, faultServer, faultUnavailable, faultOverloaded, faultAuth, faultContext, faultPolicy:
		c.refuse(problem{
			refusal: faults[f].refusal, model: c.answer.model, retryAfter: c.fault.retryAfter,
			tokens: c.answer.prompt, limit: max(1, c.answer.prompt/2),
		})
		return resultRefused, faultedBy(f), false
	case faultReset:
		return resultCutOff, faultedBy(f), c.reset()
	case faultSilence:
		c.hold()
		return resultCutOff, faultedBy(f), true
	case faultStreamError:
		if !c.answer.stream && c.to.job == jobNone {
			c.refuse(problem{refusal: refusedServer})
			return resultRefused, faultedBy(f), false
		}
	}
	var err error
	if c.answer.stream {
		abort, err = c.stream()
	} else {
		abort, err = c.whole()
	}
	switch {
	case abort:
		return resultCutOff, faultedBy(c.fault.fault), true
	case err != nil:
		return resultCutOff, outcomeLeft, false
	case c.fault.fault == faultNoEnd, c.fault.fault == faultStreamError:
		return resultCutOff, faultedBy(c.fault.fault), false
	case c.fault.fault != faultNone:
		return resultFinished, faultedBy(c.fault.fault), false
	}
	return resultFinished, outcomeOK, false
}

// refuse answers with an error status.
func (c *call) refuse(p problem) {
	buf := buffers.Get().(*[]byte)
	h := c.w.Header()
	status, body := c.dialect.refuse((*buf)[:0], h, p, c.seed)
	h["Content-Type"] = typeJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if p.retryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(seconds(p.retryAfter), 10)}
	}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body)
	*buf = body[:0]
	buffers.Put(buf)
}

// models lists the known models, or describes one.
func (c *call) models(name string) {
	b := c.behaviour
	switch {
	case b.Down:
		c.refuse(problem{refusal: refusedUnavailable})
		return
	case !b.acceptsKey(c.dialect.credential(c.r.Header)):
		c.refuse(problem{refusal: refusedAuth})
		return
	case name != "" && !b.knowsModel(name):
		c.refuse(problem{refusal: refusedModel, model: name})
		return
	}
	var body []byte
	switch {
	case c.to.fixed != "":
		body = []byte(c.to.fixed)
	case name == "":
		body = c.dialect.models(nil, b.Models)
	default:
		body = c.dialect.model(nil, name)
	}
	c.w.Header()["Content-Type"] = typeJSON
	_, _ = c.w.Write(body)
}

// reset ends the connection with a reset where there is a TCP connection to do it with; otherwise it asks to abort.
func (c *call) reset() (abort bool) {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return true
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // makes Close send a reset; without it, the caller sees an early end all the same
	}
	_ = conn.Close()
	return false
}

// hold waits until the caller leaves or the longest silence has passed.
func (c *call) hold() { wait(c.r.Context(), c.behaviour.maxSilence()) }

// wait reports whether d passed before ctx was done.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errTooLarge = errors.New("too large")

// readAll reads the body of r into buf, which it may replace by a larger one.
func readAll(buf []byte, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return buf, errTooLarge
	}
	if n := int(r.ContentLength); n >= cap(buf) {
		buf = make([]byte, 0, n+1) // one more, to meet the end without growing
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > maxBody:
			return buf, errTooLarge
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}
