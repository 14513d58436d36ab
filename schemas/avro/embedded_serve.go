package avro

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// stopLimit is how long requests may take to finish once Serve was told to end.
const stopLimit = 5 * time.Second

// Listen opens the configured address, so that its port is known before Serve.
func (e *EmbeddedRegistry) Listen(ctx context.Context) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", e.listen)
	if err != nil {
		return nil, fmt.Errorf("opening the embedded schema registry's address: %w", err)
	}
	return l, nil
}

// Serve answers HTTP requests on l until ctx ends, then lets those under way
// finish for up to five seconds. It closes l. It returns nil after an orderly
// end. The logger hears what net/http has to complain about, such as a panic.
func (e *EmbeddedRegistry) Serve(ctx context.Context, l net.Listener, logger *zap.Logger) error {
	errorLog, err := zap.NewStdLogAt(logger, zap.WarnLevel)
	if err != nil {
		return fmt.Errorf("setting up the embedded schema registry: %w", err)
	}
	srv := &http.Server{
		Handler:           e.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          errorLog,
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving the embedded schema registry: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	err = srv.Shutdown(stop)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
