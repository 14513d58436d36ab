package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// diskReserve is how much room there must be for inserts and merges, in bytes, and twice as much before they begin again.
	diskReserve = 128 << 20
	// diskLook is the time between two looks at the disk. A fast disk takes far less than the reserve in that time.
	diskLook = 50 * time.Millisecond
	// diskRetry is the time between two tries to mend tables.
	diskRetry = time.Second
	// diskRecent is how long before the disk was found full a part may have been written that is looked at: parts have their
	// time in whole seconds.
	diskRecent = 10 * time.Second
	// oldPartsLifetime is how long the parts that a merge has read are kept, in seconds; ClickHouse's own value, which chDB
	// sets to 0.
	oldPartsLifetime = 480
)

// disk keeps tables whole when others fill the disk. Below the reserve it stops merges, and the server refuses inserts.
//
// The engine is not safe there: a merge that runs into the end of the disk may end as if all was well and leave a part whose
// files are cut off, which nobody can read any more (26.5: an empty file of marks). What it was merged from is still there, and
// the engine takes that instead when it loads the table and finds the part broken. So the parts that were written last are
// checked, and the table of a broken one is loaded again.
type disk struct {
	engine *Engine
	log    *zap.Logger
	room   func(dir string) (int64, error) // bytes that are free

	full   atomic.Bool
	free   atomic.Int64
	stop   context.CancelFunc
	done   sync.WaitGroup
	since  time.Time       // of the parts to check
	broken map[string]bool // tables that could not be loaded again yet
	tried  time.Time       // when they were last
}

func watchDisk(e *Engine, room func(string) (int64, error), log *zap.Logger) *disk {
	d := &disk{engine: e, log: log, room: room, broken: make(map[string]bool)}
	d.free.Store(math.MaxInt64)
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.done.Go(func() {
		tick := time.NewTicker(diskLook)
		defer tick.Stop()
		for {
			d.look(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return d
}

// close stops watching and waits until that is so.
func (d *disk) close() {
	d.stop()
	d.done.Wait()
}

func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	err := syscall.Statfs(dir, &s)
	return int64(min(uint64(s.Bavail)*uint64(s.Bsize), math.MaxInt64)), err
}

func (d *disk) look(ctx context.Context) {
	free, err := d.room(d.engine.dir)
	if err != nil {
		return // what can't be looked at is no reason to refuse
	}
	d.free.Store(free)
	switch full := d.full.Load(); {
	case !full && free < diskReserve:
		d.full.Store(true)
		d.since = time.Now().Add(-diskRecent)
		d.log.Error("embedded clickhouse: the disk is full, inserts are refused and merges stopped until there is room again",
			zap.String("dir", d.engine.dir), zap.Int64("free_bytes", free), zap.Int64("wanted_bytes", diskReserve))
		d.do(ctx, "SYSTEM STOP MERGES") // and the ones under way end
		d.await(ctx, "SELECT count() AS Left FROM system.merges")
		d.heal(ctx) // now, since what was merged is not kept for ever
	case full && free >= 2*diskReserve && time.Since(d.tried) >= diskRetry:
		d.tried = time.Now()
		if !d.heal(ctx) || !d.do(ctx, "SYSTEM START MERGES") {
			return
		}
		d.full.Store(false)
		d.log.Info("embedded clickhouse: there is room on the disk again", zap.String("dir", d.engine.dir), zap.Int64("free_bytes", free))
	}
}

// do runs a statement and reports whether it went well.
func (d *disk) do(ctx context.Context, sql string) bool {
	if _, err := d.engine.Query(ctx, []byte(sql), ""); err != nil {
		if ctx.Err() == nil {
			d.log.Error("embedded clickhouse: mending tables after the disk was full", zap.String("statement", sql), zap.Error(err))
		}
		return false
	}
	return true
}

// await returns when a count is zero, or after a while.
func (d *disk) await(ctx context.Context, sql string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		left, err := rowsOf[struct{ Left json.Number }](ctx, d.engine, sql)
		if err != nil || left[0].Left == "0" {
			return
		}
		select {
		case <-time.After(diskLook):
		case <-ctx.Done():
		}
	}
}

// heal checks the parts that were written around the time when the disk was full and loads the tables of broken ones again. It
// reports whether all is well.
func (d *disk) heal(ctx context.Context) bool {
	parts, err := rowsOf[struct{ Table, Name string }](ctx, d.engine, fmt.Sprintf(
		"SELECT concat('`', database, '`.`', table, '`') AS Table, name AS Name FROM system.parts WHERE active AND database != 'system' "+
			"AND modification_time >= toDateTime(%d) ORDER BY ALL", d.since.Unix()))
	if err != nil {
		d.log.Error("embedded clickhouse: looking for parts to check", zap.Error(err))
		return false
	}
	for _, p := range parts {
		if d.broken[p.Table] {
			continue
		}
		checked, err := rowsOf[struct {
			Passed  int    `json:"is_passed"`
			Message string `json:"message"`
		}](ctx, d.engine, fmt.Sprintf("CHECK TABLE %s PART '%s' SETTINGS check_query_single_value_result = 0", p.Table, p.Name))
		if err != nil {
			d.log.Error("embedded clickhouse: checking a part", zap.String("table", p.Table), zap.String("part", p.Name), zap.Error(err))
			return false
		}
		for _, c := range checked {
			if c.Passed == 0 {
				d.log.Warn("embedded clickhouse: a full disk left a broken part; what it was merged from takes its place",
					zap.String("table", p.Table), zap.String("part", p.Name), zap.String("found", c.Message))
				d.broken[p.Table] = true
			}
		}
	}
	for table := range d.broken {
		d.do(ctx, "DETACH TABLE IF EXISTS "+table+" SYNC") // the engine attaches it again at its next start in any case
		if d.do(ctx, "ATTACH TABLE IF NOT EXISTS "+table) {
			delete(d.broken, table)
		}
	}
	return len(d.broken) == 0
}

// rowsOf runs a query and reads its rows.
func rowsOf[T any](ctx context.Context, e *Engine, sql string) ([]T, error) {
	out, err := e.Query(ctx, []byte(sql), "JSON")
	if err != nil {
		return nil, err
	}
	var answer struct{ Data []T }
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("reading the engine's answer: %w", err)
	}
	return answer.Data, nil
}

// Ready returns why the engine takes no inserts, or nil.
func (e *Engine) Ready() error {
	if e.disk.full.Load() {
		return fmt.Errorf("the disk of %s has %d MiB left; make room for %d MiB, until then inserts are refused",
			e.dir, e.disk.free.Load()>>20, 2*diskReserve>>20)
	}
	return nil
}

// FreeBytes returns how much room the engine's disk has, as of at most a moment ago.
func (e *Engine) FreeBytes() int64 { return e.disk.free.Load() }
