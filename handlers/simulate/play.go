package simulate

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// whole writes an answer that is not streamed.
func (c *call) whole() (abort bool, err error) {
	f := c.fault.fault
	if f == faultSlow && !wait(c.r.Context(), c.fault.latency) {
		return false, errLeft
	}
	buf := buffers.Get().(*[]byte)
	body := c.to.format.whole((*buf)[:0], &c.answer)
	defer func() {
		if cap(body) <= maxPooled {
			*buf = body[:0]
			buffers.Put(buf)
		}
	}()
	send := body
	switch f {
	case faultMalformed:
		body = append(body[:max(len(body)-1, 0)], `,]`...)
		send = body
	case faultCut, faultStall:
		send = body[:len(body)/2]
	case faultNoEnd:
		body = body[:len(body)/2]
		send = body
	}
	h := c.w.Header()
	c.dialect.sign(h, &c.answer)
	h["Content-Type"] = typeJSON
	if other, ok := c.to.format.(typed); ok {
		h["Content-Type"] = []string{other.contentType(&c.answer)}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	status := http.StatusOK
	if c.to.job == jobCreate {
		status = http.StatusCreated
	}
	c.w.WriteHeader(status)
	if _, err = c.w.Write(send); err != nil {
		return false, err
	}
	if f != faultCut && f != faultStall {
		return false, nil
	}
	if err = http.NewResponseController(c.w).Flush(); err != nil {
		return false, err
	}
	if f == faultStall {
		c.hold()
	}
	return true, nil
}

// stream writes an answer as server-sent events: each token in a write of its own if the stream has a pace, all of it in
// as few writes as can be if not.
func (c *call) stream() (abort bool, err error) {
	buf := buffers.Get().(*[]byte)
	s := streamer{call: c, format: c.to.format.(streamFormat), control: http.NewResponseController(c.w), buf: (*buf)[:0], next: time.Now()}
	defer func() {
		if cap(s.buf) <= maxPooled {
			*buf = s.buf[:0]
			buffers.Put(buf)
		}
	}()
	h := c.w.Header()
	c.dialect.sign(h, &c.answer)
	h["Content-Type"] = typeEvents
	h["Cache-Control"] = noCache
	c.w.WriteHeader(http.StatusOK)
	return s.run()
}

type streamer struct {
	*call
	format  streamFormat
	control *http.ResponseController
	buf     []byte
	next    time.Time // when the next token is due
}

func (s *streamer) run() (abort bool, err error) {
	a, f := &s.answer, s.fault.fault
	s.buf = s.format.piece(s.buf, a, piece{kind: pieceOpen})
	if f == faultSlow {
		if err = s.flush(); err != nil || !wait(s.r.Context(), s.fault.latency) {
			return false, errLeft
		}
		s.next = time.Now()
	}
	interval := s.behaviour.interval()
	for i := range a.tokens {
		if i == s.fault.after {
			if done, err := s.strike(i); done || err != nil {
				return done && err == nil && f != faultStreamError, err
			}
		}
		if i > 0 && interval > 0 {
			if err = s.pace(interval); err != nil {
				return false, err
			}
		}
		s.buf = s.format.piece(s.buf, a, piece{kind: pieceDelta, i: i})
		if len(s.buf) >= 16<<10 {
			if err = s.flush(); err != nil {
				return false, err
			}
		}
	}
	if s.fault.after >= a.tokens {
		if done, err := s.strike(a.tokens); done || err != nil {
			return done && err == nil && f != faultStreamError, err
		}
	}
	s.buf = s.format.piece(s.buf, a, piece{kind: pieceFinish})
	if f != faultNoEnd {
		s.buf = s.format.piece(s.buf, a, piece{kind: pieceEnd})
	}
	return false, s.flush()
}

// strike lets the fault of a stream happen, before the i-th token. It reports whether the stream is over.
func (s *streamer) strike(i int) (over bool, err error) {
	switch s.fault.fault {
	case faultCut:
		return true, s.flush()
	case faultStall:
		if err = s.flush(); err != nil {
			return true, err
		}
		s.hold()
		return true, nil
	case faultStreamError:
		s.buf = s.format.piece(s.buf, &s.answer, piece{kind: pieceBroken})
		return true, s.flush()
	case faultMalformed:
		// A chunk that lost its end: what a broken proxy makes of one.
		start := len(s.buf)
		s.buf = s.format.piece(s.buf, &s.answer, piece{kind: pieceDelta, i: i})
		if len(s.buf) == start { // a form in which a call comes whole, at the end
			s.buf = append(s.buf, "data: {"...)
		}
		data := start + bytes.Index(s.buf[start:], []byte("data: "))
		s.buf = append(s.buf[:data+(len(s.buf)-data)/2], "\n\n"...)
	}
	return false, nil
}

// pace writes what there is and waits for the time of the next token. Times are kept from the start of the stream, so
// that late wake-ups do not add up.
func (s *streamer) pace(interval time.Duration) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.next = s.next.Add(interval)
	if !wait(s.r.Context(), time.Until(s.next)) {
		return errLeft
	}
	return nil
}

func (s *streamer) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err != nil {
		return err
	}
	return s.control.Flush()
}
