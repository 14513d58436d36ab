package simulate_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/simulate"
)

func TestServerLetsCallsEndThenCutsThemOff(t *testing.T) {
	t.Parallel()
	cfg := simulate.Config{Listen: "127.0.0.1:0", Drain: simulate.Duration(200 * time.Millisecond)}
	server := simulate.NewServer(cfg, zap.NewNop())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := server.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	type end struct {
		status int
		err    error
	}
	call := func(order string) chan end {
		ended := make(chan end, 1)
		req := request(t, server.URL()+chatPath, chatBody, "X-Sim-Latency", "50ms", "X-Sim-Fault", order)
		go func() {
			resp, err := client.Do(req)
			if err != nil {
				ended <- end{err: err}
				return
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			ended <- end{status: resp.StatusCode, err: err}
		}()
		return ended
	}
	ends, silent := call("filter"), call("silence")
	eventually(t, func() bool { return server.Stats().Total.InFlight == 2 })
	stop()
	if got := <-ends; got.status != 200 || got.err != nil {
		t.Errorf("a call that ends in time: %+v", got)
	}
	if got := <-silent; got.err == nil {
		t.Errorf("a call that never ends: %+v", got)
	}
	if err := <-served; err != nil {
		t.Errorf("serving: %v", err)
	}
	if got := server.Stats().Total; got.InFlight != 0 {
		t.Errorf("calls outlive the server: %+v", got)
	}
}

func TestTakenPortIsReported(t *testing.T) {
	t.Parallel()
	first := simulate.NewServer(simulate.Config{Listen: "127.0.0.1:0"}, zap.NewNop())
	if err := first.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	second := simulate.NewServer(simulate.Config{Listen: first.URL()[len("http://"):]}, zap.NewNop())
	if err := second.Run(t.Context()); err == nil {
		t.Error("two servers on one port")
	}
	if err := first.Serve(ctx); err != nil {
		t.Error(err)
	}
}
