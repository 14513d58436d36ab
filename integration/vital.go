package integration

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// ResidentMiB returns the memory that a process holds, as Linux tells it: VmRSS of
// proc_pid_status(5).
func ResidentMiB(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading memory of a process: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")), 64)
	if err != nil {
		return 0, fmt.Errorf("reading memory of a process: %w", err)
	}
	return kib / 1024, nil
}

// Vital is what a process holds at a moment.
type Vital struct {
	ResidentMiB float64
	Goroutines  float64
}

// Vital measures a process of the site that serves its metrics at addr.
func (p *Process) Vital(ctx context.Context, addr string) (Vital, error) {
	var v Vital
	var err error
	if v.ResidentMiB, err = ResidentMiB(p.PID()); err != nil {
		return v, err
	}
	v.Goroutines, err = gauge(ctx, addr, "go_goroutines")
	return v, err
}

// gauge returns the value of a metric without labels.
func gauge(ctx context.Context, addr, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("reading metrics: there is no %s: %w", name, lines.Err())
}
