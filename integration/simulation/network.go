package simulation

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

var errCut = errors.New("the simulated network is cut")

// link is one worker's way to the brokers. It delays what is sent, may lose the
// answer to what was sent, and can be cut.
type link struct {
	dial dialer

	mu    sync.Mutex
	rng   *rand.Rand
	down  bool
	lossy int // in how many connections the next answer is lost
	conns map[*conn]struct{}
}

func newLink(d dialer, seed uint64) *link {
	return &link{dial: d, rng: rand.New(rand.NewPCG(seed, 2)), conns: make(map[*conn]struct{})}
}

// Dial opens a connection unless the link is down.
func (l *link) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	down := l.down
	l.mu.Unlock()
	if down {
		return nil, errCut
	}
	inner, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, link: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		_ = inner.Close()
		return nil, errCut
	}
	l.conns[c] = struct{}{}
	return c, nil
}

// cut takes the link down and breaks its connections.
func (l *link) cut() {
	l.mu.Lock()
	l.down = true
	var broken []*conn
	for c := range l.conns {
		broken = append(broken, c)
	}
	l.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

func (l *link) heal() {
	l.mu.Lock()
	l.down = false
	l.mu.Unlock()
}

// lose breaks the next n connections on which something is sent, after it arrived
// and before its answer does.
func (l *link) lose(n int) {
	l.mu.Lock()
	l.lossy = n
	l.mu.Unlock()
}

// delay is how long a message is on its way, and whether its answer is lost.
func (l *link) delay() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := time.Duration(l.rng.Int64N(int64(20 * time.Millisecond)))
	if l.rng.IntN(50) == 0 {
		d += time.Duration(l.rng.Int64N(int64(2 * time.Second)))
	}
	lost := l.lossy > 0 && l.rng.IntN(4) == 0
	if lost {
		l.lossy--
	}
	return d, lost
}

// conn is a connection of a link.
type conn struct {
	net.Conn

	link *link
	mu   sync.Mutex
	lost bool
}

// slow says which requests take time to arrive: those of a transaction. The client
// waits for others while it holds locks, and a goroutine that waits for a lock
// keeps virtual time from going on.
func slow(frame []byte) bool {
	if len(frame) < 6 {
		return false
	}
	switch kmsg.Key(binary.BigEndian.Uint16(frame[4:])) {
	case kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.AddOffsetsToTxn:
		return true
	}
	return false
}

// fetchTrip is how long every fetch takes to arrive. A broker may answer at once
// and with nothing, as when what it has is not committed yet, and the client asks
// again at once: without a way to go that loop would never let virtual time pass.
const fetchTrip = time.Millisecond

// Write implements net.Conn. The client writes a request at once.
func (c *conn) Write(b []byte) (int, error) {
	d, lost := c.link.delay()
	switch {
	case slow(b):
		time.Sleep(d)
	case len(b) >= 6 && kmsg.Key(binary.BigEndian.Uint16(b[4:])) == kmsg.Fetch:
		time.Sleep(fetchTrip)
	}
	if lost {
		c.mu.Lock()
		c.lost = true
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	lost := c.lost
	c.mu.Unlock()
	if lost && err == nil {
		_ = c.Close()
		return 0, errCut
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}
