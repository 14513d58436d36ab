package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// smallDisk gives an instance a disk of its own for its data.
func (r *rig) smallDisk(instance string, megabytes int) {
	r.t.Helper()
	dir := filepath.Join(r.Dir, instance)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	options := fmt.Sprintf("size=%dm,mode=700,uid=%d", megabytes, os.Getuid())
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options)
	if errors.Is(err, syscall.EPERM) {
		err = exec.CommandContext(r.t.Context(), "sudo", "-n", "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).Run()
	}
	if err != nil {
		r.t.Skipf("a small disk can't be mounted: %v", err)
	}
	r.t.Cleanup(func() {
		r.Close() // nobody uses it any more
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); errors.Is(err, syscall.EPERM) {
			_ = exec.CommandContext(context.WithoutCancel(r.t.Context()), "sudo", "-n", "umount", "-l", dir).Run()
		}
	})
}

// fill leaves an instance's disk that many bytes. The returned function makes room again.
func (r *rig) fill(instance string, left int64) (free func()) {
	r.t.Helper()
	dir := filepath.Join(r.Dir, instance)
	name := filepath.Join(dir, "of somebody else")
	f, err := os.Create(name)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); err == nil; _, err = f.Write(block) {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			r.t.Fatal(err)
		}
		if int64(s.Bavail)*s.Bsize <= left {
			break
		}
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		r.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			r.t.Fatal(err)
		}
	}
}

// readiness returns status and text of an instance's /readyz.
func (r *rig) readiness(addr string) (int, string) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// within waits for a condition.
func (r *rig) within(limit time.Duration, what string, ok func() bool) {
	r.t.Helper()
	began := time.Now()
	r.pause(limit, ok)
	if !ok() {
		r.t.Fatalf("no %s within %s", what, limit)
	}
	r.t.Logf("%s after %s", what, time.Since(began).Round(10*time.Millisecond))
}

// more sends 4,000 requests besides those that were sent, and returns how many there are then.
func (r *rig) more(sent int) int {
	r.t.Helper()
	const n = 4000
	r.put(sent, sent+n, func(int, *schemas.Request) {})
	return sent + n
}

// observed returns an address for an instance's health and metrics, and the part of its document that says so.
func (r *rig) observed() (addr string, doc Document) {
	r.t.Helper()
	addr, err := FreeAddr(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return addr, Document{"http": Document{"addr": addr}}
}

// The disks of broker and worker fill up one after the other while requests run. Who can't work says so, nothing is lost or
// doubled, and all goes on by itself once there is room.
func TestAFullDiskLosesNothing(t *testing.T) {
	r := newRig(t)
	r.smallDisk("broker", 300)
	r.smallDisk("w0", 64)
	brokerAddr, doc := r.observed()
	r.start("broker", "kafka,registry", doc)
	r.ready()
	r.start("clickhouse", "clickhouse", nil)
	r.start("simulator", "simulator", nil)
	r.simulate(fast())
	worker := r.start("w0", "worker", nil)
	recorder := r.start("recorder", "recorder", nil)
	answered := r.answered()
	sent := 0
	more := func() { sent = r.more(sent) }
	grows := func(limit time.Duration, what string) {
		t.Helper()
		from := answered.Load()
		r.within(limit, what, func() bool { return answered.Load() >= from+500 })
	}
	stands := func() {
		t.Helper()
		r.pause(time.Second, func() bool { return false }) // what was on its way arrives
		from := answered.Load()
		r.pause(2*time.Second, func() bool { return false })
		if now := answered.Load(); now != from {
			t.Errorf("%d results were written to a full disk", now-from)
		}
	}

	more()
	grows(30*time.Second, "results")
	for _, left := range []int64{32 << 20, 0} {
		free := r.fill("broker", left)
		r.within(10*time.Second, "broker that says its disk is full", func() bool {
			status, text := r.readiness(brokerAddr)
			return status == http.StatusServiceUnavailable && strings.Contains(text, "make room")
		})
		stands()
		free()
		more()
		grows(30*time.Second, "results from a broker with room again")
	}

	free := r.fill("w0", 0)
	more()
	grows(30*time.Second, "results of a worker without room for its journal")
	free()

	r.within(2*time.Minute, "all results", func() bool { return answered.Load() >= int64(sent) })
	r.account(sent, []*Process{worker, recorder})
}

// ClickHouse's disk fills up under its merges and the recorder's inserts, again and again. The recorder says that it can't
// insert, results go on, and afterwards every event is there once.
//
// Without a reserve a merge that ran into the end of the disk could leave a part with an empty file of marks, which nobody could
// read any more.
func TestAFullDiskOfClickHouseLosesNothing(t *testing.T) {
	r := newRig(t)
	r.start("broker", "kafka,registry", nil)
	r.smallDisk("clickhouse", 1000)
	r.ready()
	r.start("clickhouse", "clickhouse", nil)
	r.start("simulator", "simulator", nil)
	r.simulate(fast())
	worker := r.start("w0", "worker", nil)
	recorderAddr, doc := r.observed()
	recorder := r.start("recorder", "recorder", doc)
	answered := r.answered()
	sent := 0
	for range 4 {
		free := r.fill("clickhouse", 0)
		sent = r.more(sent)
		r.within(30*time.Second, "recorder that says it can't insert", func() bool {
			status, _ := r.readiness(recorderAddr)
			return status == http.StatusServiceUnavailable
		})
		r.within(30*time.Second, "results without ClickHouse", func() bool { return answered.Load() >= int64(sent-1000) })
		free()
		r.within(time.Minute, "recorder that inserts again", func() bool {
			status, _ := r.readiness(recorderAddr)
			return status == http.StatusOK
		})
		sent = r.more(sent) // and merges begin
	}
	r.within(2*time.Minute, "all results", func() bool { return answered.Load() >= int64(sent) })
	r.account(sent, []*Process{worker, recorder})
}
