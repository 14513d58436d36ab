package embedded

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/catalog"
)

const (
	defaultAddr          = "127.0.0.1:8123"
	defaultUser          = "default"
	defaultMaxBodyBytes  = 1 << 30
	defaultMaxQueryBytes = 16 << 20

	headerTimeout   = 10 * time.Second
	uploadTimeout   = 10 * time.Minute
	answerTimeout   = time.Hour
	idleTimeout     = 2 * time.Minute
	maxHeaderBytes  = 1 << 20 // the query parameter is part of it
	shutdownTimeout = 30 * time.Second
)

// ServerConfig says where the HTTP interface listens and whom it lets in.
type ServerConfig struct {
	// Addr is the host:port to listen on. Empty means 127.0.0.1:8123; port 0 takes a free port. A host that is not loopback
	// needs a Password.
	Addr string `json:"addr,omitempty"`
	// User is the only user there is. Empty means default.
	User string `json:"user,omitempty"`
	// Password is asked of every request but /ping. Empty lets everyone in who can reach Addr.
	Password catalog.Secret `json:"password,omitempty"`
	// MaxBodyBytes limits the data of an insert, as sent and as decompressed. 0 means 1 GiB.
	MaxBodyBytes int64 `json:"max_body_bytes,omitempty"`
	// MaxQueryBytes limits the text of a query that comes in the body. 0 means 16 MiB. The engine has a limit of its own,
	// the setting max_query_size, and the one in the URL is limited with the header, to 1 MiB.
	MaxQueryBytes int64 `json:"max_query_bytes,omitempty"`
	// Log gets what goes wrong between the engine and the client, without SQL and data. Nil discards it.
	Log *zap.Logger `json:"-"`
}

// Validate says what to write instead of a value that cannot work or is not safe.
func (c ServerConfig) Validate() error {
	if c.MaxBodyBytes < 0 {
		return fmt.Errorf("max_body_bytes: %d is below zero; write 0 for the default of 1 GiB", c.MaxBodyBytes)
	}
	if c.MaxQueryBytes < 0 {
		return fmt.Errorf("max_query_bytes: %d is below zero; write 0 for the default of 16 MiB", c.MaxQueryBytes)
	}
	if c.Addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("addr: %q is no address; write host:port, for example %s", c.Addr, defaultAddr)
	}
	if c.Password == "" && !isLoopback(host) {
		return fmt.Errorf("addr: %q can be reached from other machines, and SQL can read this one's files: "+
			"set a password, or write 127.0.0.1:%s", c.Addr, port)
	}
	return nil
}

func (c ServerConfig) withDefaults() ServerConfig {
	if c.Addr == "" {
		c.Addr = defaultAddr
	}
	if c.User == "" {
		c.User = defaultUser
	}
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = defaultMaxBodyBytes
	}
	if c.MaxQueryBytes == 0 {
		c.MaxQueryBytes = defaultMaxQueryBytes
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Server is ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http) in front of an Engine.
//
// It differs from a ClickHouse server in this: one user; no sessions (session_id), roles and external tables; an answer is
// complete before it is sent, so an error always has its own status and never comes in the middle of a body; a body that ends
// early inserts nothing.
type Server struct {
	cfg    ServerConfig
	engine *Engine
	http   *http.Server
	addr   string
	done   chan error
}

// Serve listens and answers requests in the background until Shutdown or Close. The end of ctx cancels the requests under way,
// but does not stop the server. The engine is not closed with it.
func Serve(ctx context.Context, cfg ServerConfig, engine *Engine) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("serving embedded clickhouse: %w", err)
	}
	cfg = cfg.withDefaults()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("serving embedded clickhouse: %w", err)
	}
	s := &Server{cfg: cfg, engine: engine, addr: listener.Addr().String(), done: make(chan error, 1)}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       uploadTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          zap.NewStdLog(cfg.Log),
	}
	go func() { s.done <- s.http.Serve(listener) }()
	return s, nil
}

// Addr returns the host:port that the server listens on.
func (s *Server) Addr() string { return s.addr }

// Shutdown stops listening and waits for the requests under way, at most until ctx ends; then it cuts them off, which cancels
// their statements.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("shutting embedded clickhouse's server down: %w", err), s.http.Close())
	}
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	s.done <- http.ErrServerClosed
	return err
}

// Close is Shutdown with a limit of 30 s.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		_, _ = w.Write([]byte("Ok.\n"))
	}
	mux.HandleFunc("GET /ping", ok)
	mux.HandleFunc("GET /replicas_status", ok)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("query") {
			ok(w, r)
			return
		}
		s.serveQuery(w, r)
	})
	mux.HandleFunc("POST /{$}", s.serveQuery)
	return http.NewCrossOriginProtection().Handler(s.guardHost(mux))
}

// guardHost keeps web pages out that reach a server without a password by letting their own name resolve to this machine.
// What asks by an address, or for localhost, is no such page.
func (s *Server) guardHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if s.cfg.Password == "" && err != nil && host != "localhost" {
			http.Error(w, "ask for localhost or an address, or set a password: this server has none", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// authenticate looks where ClickHouse looks: X-ClickHouse-* headers, basic authentication, URL parameters.
func (s *Server) authenticate(r *http.Request) error {
	user, password, given := r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key"), true
	if user == "" && password == "" {
		var basic bool
		if user, password, basic = r.BasicAuth(); !basic {
			query := r.URL.Query()
			user, password = query.Get("user"), query.Get("password")
			given = user != "" || password != ""
		}
	}
	if user == "" {
		user = defaultUser
	}
	if equal(user, s.cfg.User)&equal(password, s.cfg.Password.Reveal()) == 1 {
		return nil
	}
	if !given {
		return newException(codeRequiredPassword, "%s: Authentication is required", user)
	}
	return newException(codeAuthenticationFailed, "%s: Authentication failed: password is incorrect, or there is no user "+
		"with such name", user)
}

// equal compares hashes, so that its time tells neither the length nor a prefix of what is right.
func equal(given, want string) int {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:])
}
