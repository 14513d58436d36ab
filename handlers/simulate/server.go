package simulate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Server is a simulator on a port of its own.
type Server struct {
	*Simulator

	cfg      Config
	listener net.Listener
}

// NewServer returns a server that is set up as cfg says, which has passed Validate. It opens nothing.
func NewServer(cfg Config, log *zap.Logger) *Server {
	return &Server{Simulator: New(cfg, log), cfg: cfg}
}

// Listen opens the port. It is called once, before Serve.
func (s *Server) Listen(ctx context.Context) error {
	address := s.cfg.Listen
	if address == "" {
		address = defaultListen
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("opening the simulator's port: %w", err)
	}
	s.listener = l
	return nil
}

// URL is where the server listens, without a slash at the end. It is empty before Listen.
func (s *Server) URL() string {
	if s.listener == nil {
		return ""
	}
	return "http://" + s.listener.Addr().String()
}

// Run listens and serves until ctx is done. See Serve.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	return s.Serve(ctx)
}

// Serve answers calls until ctx is done. It then takes no new ones, lets those under way end for as long as Config.Drain
// says, cuts off the rest, and returns when all are over. It returns nil unless the port fails.
func (s *Server) Serve(ctx context.Context) error {
	errorLog, err := zap.NewStdLogAt(s.log, zap.DebugLevel) // callers that break off are what a simulator is for
	if err != nil {
		return fmt.Errorf("preparing the simulator's log: %w", err)
	}
	gate := newGate()
	server := &http.Server{
		Handler:           gate.wrap(s.Simulator),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          errorLog,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(s.listener) }()
	s.log.Debug("simulator listening", zap.String("url", s.URL()))
	select {
	case err = <-failed:
		err = errors.Join(err, server.Close())
	case <-ctx.Done():
		err = s.stop(ctx, server)
		if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
	}
	gate.close()
	if err != nil {
		return fmt.Errorf("serving the simulator: %w", err)
	}
	return nil
}

// stop ends the server, which ctx asked for by being done.
func (s *Server) stop(ctx context.Context, server *http.Server) error {
	drain := time.Duration(s.cfg.Drain)
	if drain == 0 {
		drain = 5 * time.Second
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := server.Shutdown(limit)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close() // ends the contexts of the calls under way
}

// gate counts the handlers that run, because http.Server's Close does not wait for them.
type gate struct {
	mu     sync.Mutex
	n      int
	closed bool
	empty  chan struct{}
}

func newGate() *gate { return &gate{empty: make(chan struct{})} }

func (g *gate) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.enter() {
			panic(http.ErrAbortHandler)
		}
		defer g.leave()
		h.ServeHTTP(w, r)
	})
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.n++
	}
	return !g.closed
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.closed && g.n == 0 {
		close(g.empty)
	}
}

// close lets no handler in any more and waits until the last one has left.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	running := g.n > 0
	g.mu.Unlock()
	if running {
		<-g.empty
	}
}
