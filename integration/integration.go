// Package integration runs Sira as its users do, as processes of their own, and
// doubts it: suites that kill, rebalance and measure live here.
package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sira-ai/sira/cmd/app"
)

// Build compiles the command sira into dir and returns the program's path.
func Build(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "sira")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "github.com/sira-ai/sira/cmd/sira")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building sira: %w\n%s", err, out)
	}
	return program, nil
}

// Document is a part of a configuration document.
type Document = map[string]any

// Site is one installation of Sira: processes that share a configuration and
// differ in their instance. Its addresses are free ports of loopback.
type Site struct {
	Program string
	Dir     string   // of documents, logs and data
	Shared  Document // what every process's document says

	mu        sync.Mutex
	processes []*Process
}

// NewSite returns a site with one lane, one provider on the simulator's instance
// "llm" and one model, gpt-4o-mini. Nothing runs yet.
func NewSite(ctx context.Context, program, dir string) (*Site, error) {
	var addr [4]string
	for i := range addr {
		var err error
		if addr[i], err = FreeAddr(ctx); err != nil {
			return nil, err
		}
	}
	return &Site{Program: program, Dir: dir, Shared: Document{
		"kafka": Document{
			"embedded": Document{"addr": addr[0]}, "partitions": 8,
			"lanes": []Document{{"name": "standard", "max_age": "30m"}},
		},
		"registry":   Document{"listen": addr[1]},
		"clickhouse": Document{"listen": addr[2]},
		"simulator":  Document{"listen": addr[3], "seed": 1},
		"providers":  []Document{{"name": "openai", "kind": "openai", "base_url": "http://" + addr[3] + "/llm/openai/v1", "api_key": "any"}},
		"models":     []Document{{"name": "gpt-4o-mini", "targets": []Document{{"provider": "openai", "model": "gpt-4o-mini"}}}},
	}}, nil
}

// FreeAddr returns a loopback address that nobody listens on at this moment.
func FreeAddr(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// Document writes the document of one instance and returns its path. Sections of
// own are laid over the shared ones.
func (s *Site) Document(instance string, own Document) (string, error) {
	doc := maps.Clone(s.Shared)
	doc["instance"], doc["data_dir"] = instance, filepath.Join(s.Dir, instance)
	doc["http"] = Document{"addr": "off"}
	for section, v := range own {
		under, ok := doc[section].(Document)
		over, both := v.(Document)
		if !ok || !both {
			doc[section] = v
			continue
		}
		merged := maps.Clone(under)
		maps.Copy(merged, over)
		doc[section] = merged
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("writing document of %s: %w", instance, err)
	}
	path := filepath.Join(s.Dir, instance+".yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("writing document of %s: %w", instance, err)
	}
	return path, nil
}

// Config returns the configuration that a tool next to the site would load.
func (s *Site) Config() (app.Config, error) {
	path, err := s.Document("tool", nil)
	if err != nil {
		return app.Config{}, err
	}
	return app.Load(path)
}

// Start starts an instance with some roles and returns when it is up.
func (s *Site) Start(ctx context.Context, instance, roles string, own Document) (*Process, error) {
	path, err := s.Document(instance, own)
	if err != nil {
		return nil, err
	}
	p := NewProcess(instance, filepath.Join(s.Dir, instance+".log"), s.Program, "run", "--config", path, "--roles", roles)
	if err := p.Launch(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.processes = append(s.processes, p)
	s.mu.Unlock()
	return p, p.WaitUp(ctx)
}

// Close kills what still runs.
func (s *Site) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		p.Kill()
	}
}

// Process is one program that can be killed and started again. Its methods are
// called by one goroutine at a time.
type Process struct {
	Name string
	path string // of the log, which later starts go on writing
	args []string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone
	up   chan struct{} // closed when the process says that it is up
}

// NewProcess returns a process that has not started.
func NewProcess(name, log string, args ...string) *Process {
	return &Process{Name: name, path: log, args: args}
}

// Launch starts the process and returns at once.
func (p *Process) Launch() error {
	log, err := os.OpenFile(p.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening log of %s: %w", p.Name, err)
	}
	p.cmd = exec.Command(p.args[0], p.args[1:]...) //nolint:noctx // Kill and Stop end it
	p.done, p.up = make(chan struct{}), make(chan struct{})
	p.cmd.Stdout, p.cmd.Stderr = log, &announcement{log: log, up: p.up}
	p.cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	go func(cmd *exec.Cmd, done chan struct{}) {
		// Linux takes the death of the thread that started a child for the death of
		// its parent, so that thread waits.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in the log
		}
	}(p.cmd, p.done)
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", p.Name, err)
	}
	return nil
}

// announcement passes a log on and notices the line that says "up".
type announcement struct {
	log  *os.File
	up   chan struct{}
	head []byte
}

// Write implements io.Writer.
func (a *announcement) Write(b []byte) (int, error) {
	if a.up != nil {
		a.head = append(a.head, b...)
		if bytes.Contains(a.head, []byte(" is up: ")) {
			close(a.up)
			a.up, a.head = nil, nil
		}
	}
	return a.log.Write(b)
}

// WaitUp returns when the process runs all its roles.
func (p *Process) WaitUp(ctx context.Context) error {
	select {
	case <-p.up:
		return nil
	case <-p.done:
		return fmt.Errorf("%s ended while starting:\n%s", p.Name, p.Tail())
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s: %w\n%s", p.Name, ctx.Err(), p.Tail())
	}
}

// Kill ends the process as kill -9 does and returns when it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.done
}

// Stop asks the process to stop and returns when it is gone.
func (p *Process) Stop(limit time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
	case <-time.After(limit):
		p.Kill()
		return fmt.Errorf("stopping %s: it did not end within %s\n%s", p.Name, limit, p.Tail())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("stopping %s: exit code %d\n%s", p.Name, code, p.Tail())
	}
	return nil
}

// Gone reports whether the process has ended.
func (p *Process) Gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// CPU returns the processor time that the process took. It has ended.
func (p *Process) CPU() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Tail returns the end of the log.
func (p *Process) Tail() string {
	b, err := os.ReadFile(p.path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4<<10):])
}
