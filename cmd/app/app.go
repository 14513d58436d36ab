// Package app joins the rooms into a process: it reads the configuration
// document, builds the components that the asked roles need, and runs and stops
// them in order. It is the only package that knows all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/pipeline/tracing"
	"github.com/sira-ai/sira/schemas/avro"
)

// Role is a part that a process plays.
type Role string

// The roles. The last three are the embedded services.
const (
	RoleWorker     Role = "worker"
	RoleRecorder   Role = "recorder"
	RoleNotifier   Role = "notifier"
	RoleAnalyst    Role = "analyst"
	RoleSimulator  Role = "simulator"
	RoleKafka      Role = "kafka"
	RoleRegistry   Role = "registry"
	RoleClickHouse Role = "clickhouse"
)

// AllRoles returns every role, in the order of starting.
func AllRoles() []Role {
	return []Role{RoleKafka, RoleRegistry, RoleClickHouse, RoleSimulator, RoleRecorder, RoleNotifier, RoleAnalyst, RoleWorker}
}

// ParseRoles reads a comma-separated list.
func ParseRoles(s string) ([]Role, error) {
	var out []Role
	for name := range strings.SplitSeq(s, ",") {
		r := Role(strings.TrimSpace(name))
		if r == "" {
			continue
		}
		if !slices.Contains(AllRoles(), r) {
			return nil, fmt.Errorf("there is no role %q; there are %v", r, AllRoles())
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no role is named; there are %v", AllRoles())
	}
	return out, nil
}

// App is a process with some roles. Make it with New, run it once.
type App struct {
	cfg   Config
	roles []Role
	log   *zap.Logger
	reg   *prometheus.Registry

	client   kafka.Config // of Kafka, known once the embedded broker listens
	codecs   *avro.Codecs
	registry registry
	tracer   *tracing.Tracer // nil: nothing is recorded
	checks   []check         // of readiness
	watching func() overview // of the worker; nil: there is none
	health   *healthWriter   // of the worker; nil: there is none
	mu       sync.Mutex

	httpAddr string
}

// registry is what the app needs of a schema registry.
type registry interface {
	avro.Registrar
	avro.SchemaSource
}

type check struct {
	name string
	run  func() error
}

// New returns a process that has not started. cfg comes from Load or Defaults.
func New(cfg Config, roles []Role, log *zap.Logger) *App {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &App{cfg: cfg, roles: roles, log: log, reg: reg}
}

// Client returns how to reach Kafka. It holds once Run has called ready.
func (a *App) Client() kafka.Config { return a.client }

// Codecs returns the codecs. They hold once Run has called ready.
func (a *App) Codecs() *avro.Codecs { return a.codecs }

// HTTPAddr returns where health and metrics are served, once Run has called
// ready.
func (a *App) HTTPAddr() string { return a.httpAddr }

// Run starts the roles in order, calls ready when all of them run, and stops them
// in the opposite order once ctx is done or one of them fails: workers finish
// what they have before the services that they need go away. It returns nil after
// a clean stop.
func (a *App) Run(ctx context.Context, ready func()) error {
	defer ballast()()
	g := &group{failed: make(chan error, 16)}
	if err := os.MkdirAll(a.cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("making data folder: %w", err)
	}
	started := a.addCheck("start", func() error { return errStarting })
	err := a.start(ctx, g)
	if err == nil {
		started()
		if ready != nil {
			ready()
		}
		select {
		case <-ctx.Done():
		case failed := <-g.failed: // stop returns it too
			a.log.Error("stopping, since a role failed", zap.Error(failed))
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, g.stop())
}

// errStarting is what readiness says until all roles run.
var errStarting = errors.New("not all roles run yet")

func (a *App) has(r Role) bool { return slices.Contains(a.roles, r) }

// start is one straight line on purpose: what needs what can be read off it.
func (a *App) start(ctx context.Context, g *group) error {
	if err := a.serveHTTP(ctx, g); err != nil {
		return err
	}
	if err := a.startTracing(g); err != nil {
		return err
	}
	if a.has(RoleKafka) {
		if err := a.startKafka(g); err != nil {
			return err
		}
	}
	a.client = a.cfg.client(a.cfg.Kafka.Embedded.Addr)
	if err := a.startRegistry(ctx, g); err != nil {
		return err
	}
	if a.has(RoleClickHouse) {
		if err := a.startClickHouse(ctx, g); err != nil {
			return err
		}
	}
	if a.has(RoleSimulator) {
		if err := a.startSimulator(ctx, g); err != nil {
			return err
		}
	}
	if !a.has(RoleWorker) && !a.has(RoleRecorder) && !a.has(RoleNotifier) && !a.has(RoleAnalyst) {
		return nil
	}
	if err := a.prepare(ctx); err != nil {
		return err
	}
	if a.has(RoleRecorder) {
		if err := a.startRecorder(ctx, g); err != nil {
			return err
		}
	}
	if a.has(RoleNotifier) {
		if err := a.startNotifier(g); err != nil {
			return err
		}
	}
	if a.has(RoleAnalyst) {
		if err := a.startAnalyst(g); err != nil {
			return err
		}
		if err := a.startAlerts(g); err != nil {
			return err
		}
	}
	if a.has(RoleWorker) {
		return a.startWorker(ctx, g)
	}
	return nil
}

// prepare makes topics and registers schemas, and waits for Kafka and the
// registry as long as ctx lets it.
func (a *App) prepare(ctx context.Context) error {
	return a.persist(ctx, "kafka", func(ctx context.Context) error {
		cl, err := a.client.NewClient(a.log, nil)
		if err != nil {
			return permanent{err}
		}
		defer cl.Close()
		if _, err := kafka.EnsureTopics(ctx, cl, a.cfg.Topics()); err != nil {
			return fmt.Errorf("making topics: %w", err)
		}
		if err := a.codecs.Register(ctx, a.registry, a.cfg.Subjects()); err != nil {
			return fmt.Errorf("registering schemas: %w", err)
		}
		return nil
	})
}

// permanent marks an error that trying again does not cure.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// persist tries until f succeeds, fails for good or ctx is done. Why it waits is
// visible in readiness and said once in the log.
func (a *App) persist(ctx context.Context, name string, f func(context.Context) error) error {
	last := fmt.Errorf("no answer from %s yet", name)
	told := false
	remove := a.addCheck(name, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		return last
	})
	defer remove()
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		try, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := f(try)
		cancel()
		var forever permanent
		if err == nil || errors.As(err, &forever) {
			return err
		}
		a.mu.Lock()
		last = err
		a.mu.Unlock()
		if !told {
			told = true
			a.log.Warn("waiting", zap.String("for", name), zap.Error(err))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", name, errors.Join(err, ctx.Err()))
		}
	}
}

func (a *App) addCheck(name string, run func() error) (remove func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checks = append(a.checks, check{name, run})
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.checks = slices.DeleteFunc(a.checks, func(c check) bool { return c.name == name })
	}
}

// group is the running services, in the order of starting.
type group struct {
	services []service
	failed   chan error
}

type service struct {
	name string
	stop func()
	done chan error
}

// run starts f with a context that only stop ends, so that services end one after
// another and not all at once.
func (g *group) run(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := service{name, cancel, make(chan error, 1)}
	go func() {
		err := f(ctx)
		if err != nil {
			err = fmt.Errorf("running %s: %w", name, err)
			select {
			case g.failed <- err:
			default:
			}
		}
		s.done <- err
	}()
	g.services = append(g.services, s)
}

// onStop adds something to close at its place in the order.
func (g *group) onStop(name string, f func() error) {
	s := service{name, func() {}, make(chan error, 1)}
	s.stop = func() { s.done <- f() }
	g.services = append(g.services, s)
}

// stopLimit bounds the stop of one service. What is stuck is left behind: every
// promise holds through a kill -9.
const stopLimit = 60 * time.Second

func (g *group) stop() error {
	var errs []error
	for _, s := range slices.Backward(g.services) {
		go s.stop()
		select {
		case err := <-s.done:
			errs = append(errs, err)
		case <-time.After(stopLimit):
			errs = append(errs, fmt.Errorf("stopping %s: it did not end within %s", s.name, stopLimit))
		}
	}
	return errors.Join(errs...)
}

// Address is where something of the process is reached.
type Address struct{ Name, Addr string }

// Addresses returns where the process listens, once Run has called ready.
func (a *App) Addresses() []Address {
	var out []Address
	add := func(on bool, name, addr string) {
		if on && addr != "" {
			out = append(out, Address{name, addr})
		}
	}
	add(a.httpAddr != "", "health", "http://"+a.httpAddr+"/readyz")
	add(a.has(RoleKafka), "kafka", a.cfg.Kafka.Embedded.Addr)
	add(a.has(RoleRegistry), "registry", "http://"+a.cfg.Registry.Listen)
	add(a.has(RoleClickHouse), "clickhouse", "http://"+a.cfg.ClickHouse.Listen+"/?database=sira")
	add(a.has(RoleSimulator), "simulator", "http://"+a.cfg.Simulator.Listen)
	return out
}

// Effective returns the configuration with the addresses that were given for
// port 0, once Run has called ready.
func (a *App) Effective() Config { return a.cfg }
