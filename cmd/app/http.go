package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/limit"
)

// serveHTTP serves health, metrics and profiles. It starts first, so that an
// orchestrator sees why the rest does not.
func (a *App) serveHTTP(ctx context.Context, g *group) error {
	if a.cfg.HTTP.Addr == "" || a.cfg.HTTP.Addr == "off" {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.HTTP.Addr)
	if err != nil {
		return fmt.Errorf("opening http.addr: %w", err)
	}
	a.httpAddr = l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /endpoints", a.endpoints)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.reg, promhttp.HandlerOpts{}))
	host, _, _ := net.SplitHostPort(a.httpAddr)
	if ip := net.ParseIP(host); a.cfg.HTTP.Pprof || ip.IsLoopback() {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	g.run("http", func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(stop); err != nil {
			return errors.Join(err, srv.Close())
		}
		return nil
	})
	return nil
}

// readyz answers 200 when every role can do its work, else 503 with the reasons.
func (a *App) readyz(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	checks := append([]check(nil), a.checks...)
	a.mu.Unlock()
	out := map[string]string{}
	status := http.StatusOK
	for _, c := range checks {
		out[c.name] = "ok"
		if err := c.run(); err != nil {
			out[c.name] = err.Error()
			status = http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
}

// overview is what a worker knows of its endpoints and limits.
type overview struct {
	Endpoints []balance.EndpointView `json:"endpoints"`
	Waiting   []limit.Line           `json:"waiting"` // by limit; empty: nobody waits
	Outlook   []outlook              `json:"outlook"` // what is predicted; empty: prediction.mode is off
}

// endpoints answers with the state of every endpoint, and 404 where there is no
// worker.
func (a *App) endpoints(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	watching := a.watching
	a.mu.Unlock()
	if watching == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(watching())
}
