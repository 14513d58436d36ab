package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/cmd/app"
)

// listeners looks at what the roles of this document would open.
func listeners(_ context.Context, p *patient) []Finding {
	c := &p.cfg
	var out []Finding
	if open(c.HTTP.Addr) {
		out = append(out, warn("http.addr: 127.0.0.1:8088, or a network policy that lets only the orchestrator and Prometheus in",
			"http.addr %s: health, metrics and endpoints are open to whoever reaches this machine", c.HTTP.Addr))
		if c.HTTP.Pprof {
			out = append(out, fail("http.pprof: false, or a loopback address", "http.pprof on %s: profiles of the process are open, and they hold what it holds", c.HTTP.Addr))
		}
	}
	if open(c.Registry.Listen) && c.Registry.URL == app.Embedded {
		out = append(out, fail("registry.listen: 127.0.0.1:8081", "registry.listen %s: the embedded registry has no login, and whoever reaches it can change schemas", c.Registry.Listen))
	}
	if open(c.ClickHouse.Listen) && c.ClickHouse.DSN == app.Embedded && c.ClickHouse.Password == "" {
		out = append(out, fail("clickhouse.listen: 127.0.0.1:8123, or a clickhouse.password", "clickhouse.listen %s: the embedded ClickHouse refuses to listen there without a password", c.ClickHouse.Listen))
	}
	if open(c.Simulator.Listen) {
		out = append(out, warn("simulator.listen: 127.0.0.1:8089", "simulator.listen %s: whoever reaches it can change how the simulated providers behave", c.Simulator.Listen))
	}
	return out
}

// open reports whether an address is reached from other machines.
func open(addr string) bool {
	if addr == "" || addr == "off" {
		return false
	}
	host, _, err := net.SplitHostPort(addr)
	return err == nil && !loopback(host)
}

// dataDir makes a file in the folder, or in the nearest one that exists, and
// removes it.
func dataDir(_ context.Context, p *patient) []Finding {
	dir := existing(p.cfg.DataDir)
	f, err := os.CreateTemp(dir, ".sira-doctor-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return []Finding{fail("data_dir: a folder that this user may write", "data_dir %s: %v", p.cfg.DataDir, err)}
	}
	return nil
}

// existing returns the folder, or the nearest above it that exists.
func existing(dir string) string {
	dir, err := filepath.Abs(dir)
	for err == nil {
		if info, err := os.Stat(dir); (err == nil && info.IsDir()) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

const gib = 1 << 30

func disk(_ context.Context, p *patient) []Finding {
	free, size, err := diskSpace(existing(p.cfg.DataDir))
	if err != nil {
		return []Finding{{State: Skipped, Text: err.Error()}}
	}
	return diskFindings(&p.cfg, free, size)
}

// diskFindings judges free bytes. Embedded services keep everything there; other
// processes only schemas and the journal of seconds.
func diskFindings(c *app.Config, free, size uint64) []Finding {
	need, what := uint64(gib), "the journal and large payloads"
	if c.UsesEmbeddedKafka() || c.ClickHouse.DSN == app.Embedded {
		need, what = 10*gib, "the embedded Kafka and ClickHouse, for "+c.Kafka.Retention.String()
	}
	text := fmt.Sprintf("data_dir %s: %.1f of %.1f GiB are free, for %s", c.DataDir, float64(free)/gib, float64(size)/gib, what)
	instead := "data_dir: a folder on a larger disk"
	switch {
	case free < gib/4:
		return []Finding{fail(instead, "%s", text)}
	case free < need:
		return []Finding{warn(instead, "%s", text)}
	}
	return ok("%s.", text)
}

func blobs(_ context.Context, p *patient) []Finding {
	if !p.cfg.UsesEmbeddedKafka() && p.cfg.Blobs.Dir == "" {
		return []Finding{warn("blobs.dir: a folder that all workers, producers and consumers mount",
			"blobs.dir is not set: payloads above 256 KiB stay in %s of this machine, and other workers answer such requests as unreadable", filepath.Join(p.cfg.DataDir, "blobs"))}
	}
	return nil
}

// spareFiles are for Kafka, ClickHouse, logs and whatever the embedded services
// hold.
const spareFiles = 1000

func files(_ context.Context, p *patient) []Finding {
	limit, err := fileLimit()
	if err != nil {
		return []Finding{{State: Skipped, Text: err.Error()}}
	}
	return fileFindings(p.cfg.Worker.Concurrency, limit)
}

func fileFindings(concurrency int, limit uint64) []Finding {
	if need := uint64(concurrency + spareFiles); limit < need {
		return []Finding{fail(fmt.Sprintf("ulimit -n %d (LimitNOFILE=%d of a systemd unit), or worker.concurrency: %d", need, need, max(int(limit)-spareFiles, 1)),
			"worker.concurrency is %d and the process may have %d files open: each call without HTTP/2 takes one, and Kafka some", concurrency, limit)}
	}
	return ok("The process may have %d files open, for %d calls at once.", limit, concurrency)
}

// cgroupLimit is where Linux tells a container its memory (cgroups(7), version 2).
const cgroupLimit = "/sys/fs/cgroup/memory.max"

func memory(_ context.Context, p *patient) []Finding {
	limit, err := memoryLimit(cgroupLimit, "/proc/meminfo")
	if err != nil {
		return []Finding{{State: Skipped, Text: err.Error()}}
	}
	return memoryFindings(&p.cfg, limit)
}

// memoryFindings judges the bytes that requests may take: each lane and the retries
// hold up to max_bytes, and a request takes about twice its bytes once decoded.
func memoryFindings(c *app.Config, limit uint64) []Finding {
	lanes := len(c.Kafka.Lanes) + min(len(c.Kafka.Retry), 1)
	need := 2 * uint64(lanes) * uint64(max(c.Worker.MaxBytes, 0))
	if need > limit*3/4 {
		return []Finding{warn(fmt.Sprintf("worker.max_bytes: %d, or more memory", limit*3/8/uint64(lanes)),
			"worker.max_bytes of %d lanes lets requests take up to %.1f GiB, and there are %.1f", lanes, float64(need)/gib, float64(limit)/gib)}
	}
	return ok("Requests may take up to %.1f GiB of %.1f.", float64(need)/gib, float64(limit)/gib)
}

// memoryLimit returns the bytes that this process may take: the container's, or
// the machine's.
func memoryLimit(cgroup, meminfo string) (uint64, error) {
	if text, err := os.ReadFile(cgroup); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
			return n, nil
		}
	}
	text, err := os.ReadFile(meminfo)
	if err != nil {
		return 0, fmt.Errorf("reading the machine's memory: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "MemTotal:")
	line, _, _ := strings.Cut(rest, "\n")
	kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the machine's memory: %w", err)
	}
	return kib << 10, nil
}
