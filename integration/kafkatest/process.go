package kafkatest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

//go:embed log4j2.properties
var log4j2 []byte

// tailBytes is how much of a log is shown when a test fails.
const tailBytes = 8 << 10

// process is a broker that runs as a Java process.
type process struct {
	java string
	libs string
	dir  string // Holds server.properties, log4j2.properties, broker.log and data.
	cmd  *exec.Cmd
	done chan struct{} // Closed when the process is gone.
}

// newProcesses formats the storage of every member of l.
func newProcesses(java, libs string) makeNodes {
	return func(ctx context.Context, _ testing.TB, l layout) ([]node, error) {
		at := place{listen: loopback, peer: func(member) string { return loopback }}
		var nodes []node
		for _, m := range l.members {
			dir := filepath.Join(l.dir, "broker-"+strconv.Itoa(m.id))
			p := &process{java: java, libs: libs, dir: dir}
			if err := p.prepare(l.properties(m, at, filepath.Join(dir, "data"))); err != nil {
				return nil, err
			}
			if err := p.format(ctx, l.clusterID); err != nil {
				return nil, err
			}
			nodes = append(nodes, p)
		}
		return nodes, nil
	}
}

func (p *process) prepare(properties string) error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return fmt.Errorf("making the broker's folder: %w", err)
	}
	if err := os.WriteFile(p.path("server.properties"), []byte(properties), 0o644); err != nil {
		return fmt.Errorf("writing the broker's configuration: %w", err)
	}
	if err := os.WriteFile(p.path("log4j2.properties"), log4j2, 0o644); err != nil {
		return fmt.Errorf("writing the broker's log configuration: %w", err)
	}
	return nil
}

// format leaves storage alone that is formatted already. Feature levels are the newest that this Kafka has.
func (p *process) format(ctx context.Context, clusterID string) error {
	// With the equals sign because an id may begin with a hyphen.
	cmd := p.command(ctx, "kafka.tools.StorageTool", "format", "--cluster-id="+clusterID, "--ignore-formatted",
		"--config", p.path("server.properties"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("formatting storage: %w\n%s", err, out)
	}
	return nil
}

// command has the JVM compile quickly rather than well: a broker that lives for seconds starts in two thirds of the
// time (3.7 s instead of 5.7 s, measured with two busy cores) and never earns the better code back.
func (p *process) command(ctx context.Context, class string, args ...string) *exec.Cmd {
	jvm := []string{
		"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + p.path("log4j2.properties"),
		"-cp", filepath.Join(p.libs, "*"),
		class,
	}
	return exec.CommandContext(ctx, p.java, append(jvm, args...)...)
}

func (p *process) path(name string) string { return filepath.Join(p.dir, name) }

func (p *process) start(ctx context.Context) error {
	log, err := os.OpenFile(p.path("broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the broker's log: %w", err)
	}
	defer log.Close()
	// Without the cancellation: ctx limits the start, and the broker lives on.
	p.cmd = p.command(context.WithoutCancel(ctx), "kafka.Kafka", p.path("server.properties"))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = dieWithParent()
	p.done = make(chan struct{})

	started := make(chan error)
	go func(cmd *exec.Cmd, done chan struct{}) {
		// Linux takes the death of the thread that started a child for the death of its parent, so that thread waits.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // Brokers end by signal; what else went wrong is in the log.
		}
	}(p.cmd, p.done)
	return <-started
}

func (p *process) stop(ctx context.Context, orderly bool) error {
	if !orderly {
		return p.kill(ctx)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("asking for a shutdown: %w", err)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		return errors.Join(errors.New("no controlled shutdown in time, killed instead"), p.kill(late))
	}
}

func (p *process) kill(ctx context.Context) error {
	if err := kill(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing: %w", err)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a killed process: %w", ctx.Err())
	}
}

func (p *process) alive(context.Context) bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) tail(context.Context) string {
	log, err := os.Open(p.path("broker.log"))
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	return readTail(log)
}

// readTail returns the last whole lines of r, which may be long.
func readTail(r io.Reader) string {
	text, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	if cut := len(text) - tailBytes; cut > 0 {
		text = text[cut:]
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return strings.TrimSpace(string(text))
}
