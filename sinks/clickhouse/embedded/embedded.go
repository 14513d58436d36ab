// Package embedded runs the ClickHouse engine inside this process, for one machine: development, tests, demonstrations, edge.
// The engine is chDB's libchdb.so, loaded without cgo; `make chdb` fetches it. Server puts ClickHouse's HTTP interface in front
// of it, so that clickhouse-go, curl, Grafana and BI tools use it as they would use a server.
//
// What is true of chDB 26.5 and shapes this package:
//
//   - A process holds one engine, and an engine one folder. After Close another may be opened, on the same folder or not.
//   - Connections to the engine are cheap (0.2 ms) and independent: every statement gets its own, so settings, the current
//     database and temporary tables never leak into the next one, and statements run concurrently.
//   - A running statement is cancelled by KILL QUERY from another connection, which works for SELECT and INSERT alike, between
//     blocks of data.
//   - An answer is complete in memory before its first byte is returned.
//   - There are no users, roles, quotas or system log tables. Whoever may send SQL has this process's rights on files and
//     network, by the table functions file, url and executable. So guard the port as you would guard a shell.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// Version is the release of chDB that .ci/fetch-chdb installs and this package is tested with.
	Version = "26.5.3"

	libraryFile = "libchdb.so"
	engineFile  = "sira-engine.xml"

	engineConfig = `<clickhouse><merge_tree><old_parts_lifetime>%d</old_parts_lifetime></merge_tree></clickhouse>
`

	defaultMaxConcurrent = 16
	closeTimeout         = 30 * time.Second
)

// ErrNoLibrary is returned by Find, and so by Open, when libchdb.so is nowhere.
var ErrNoLibrary = errors.New("the embedded ClickHouse engine is not installed: run `make chdb`, " +
	"or set SIRA_LIBCHDB to the path of a libchdb.so")

// ErrClosed is returned for statements that come, or still run, after Close was called.
var ErrClosed = errors.New("embedded clickhouse: closed")

// Find returns the path of libchdb.so: SIRA_LIBCHDB if set, else where .ci/fetch-chdb puts it, which is
// ${SIRA_CACHE:-${XDG_CACHE_HOME:-~/.cache}/sira}/chdb/26.5.3. If there is none the error is ErrNoLibrary.
func Find() (string, error) {
	if path := os.Getenv("SIRA_LIBCHDB"); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("finding libchdb by SIRA_LIBCHDB: %w", err)
		}
		return path, nil
	}
	cache := os.Getenv("SIRA_CACHE")
	if cache == "" {
		user := os.Getenv("XDG_CACHE_HOME")
		if user == "" {
			user = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		cache = filepath.Join(user, "sira")
	}
	path := filepath.Join(cache, "chdb", Version, libraryFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoLibrary
	} else if err != nil {
		return "", fmt.Errorf("finding libchdb: %w", err)
	}
	return path, nil
}

// Config says which library to load and where the data is.
type Config struct {
	// Library is the path of libchdb.so. Empty asks Find.
	Library string `json:"library,omitempty"`
	// Dir is the folder for the data; it is made if missing. Empty takes a temporary one, which Close removes.
	Dir string `json:"dir,omitempty"`
	// MaxConcurrent is how many statements run at once; others wait for their turn. 0 means 16.
	MaxConcurrent int `json:"max_concurrent,omitempty"`
	// Log gets what becomes of a full disk. Nil discards it.
	Log *zap.Logger `json:"-"`

	room func(dir string) (int64, error) // bytes that are free; nil asks the system
}

// Validate says what to write instead of a value that cannot work.
func (c Config) Validate() error {
	if c.MaxConcurrent < 0 {
		return fmt.Errorf("max_concurrent: %d is below zero; write 0 for the default of %d", c.MaxConcurrent, defaultMaxConcurrent)
	}
	return nil
}

// Engine is a running ClickHouse engine. Its methods may be called by several goroutines at once.
type Engine struct {
	dir       string
	temporary bool
	args      []string
	library   *library
	lock      *os.File
	anchor    *session // keeps the engine up between statements
	slots     chan struct{}
	closing   chan struct{}
	closed    chan struct{} // holds one token until Close takes it
	disk      *disk

	version, displayName, timezone string
}

// Open loads the library and starts the engine, which takes about half a second the first time. It fails with *LockedError if
// another process, or another Engine of this one, has the folder open, and if this process already runs an engine on another
// folder. A folder that a killed process left behind opens as usual.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		slots:   make(chan struct{}, cmp.Or(cfg.MaxConcurrent, defaultMaxConcurrent)),
		closing: make(chan struct{}),
		closed:  make(chan struct{}, 1),
	}
	e.closed <- struct{}{}
	if err := e.start(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("opening embedded clickhouse: %w", err), e.shut())
	}
	return e, nil
}

func (e *Engine) start(ctx context.Context, cfg Config) (err error) {
	if cfg.Library == "" {
		if cfg.Library, err = Find(); err != nil {
			return err
		}
	}
	if err := e.prepareDir(cfg.Dir); err != nil {
		return err
	}
	if e.library, err = loadLibrary(cfg.Library); err != nil {
		return err
	}
	// Without a file of its own the engine would take a config.xml that happens to lie in the working folder.
	config := filepath.Join(e.dir, engineFile)
	if err := os.WriteFile(config, fmt.Appendf(nil, engineConfig, oldPartsLifetime), 0o600); err != nil {
		return err
	}
	forgotten, err := forgetLost(e.dir)
	if err != nil {
		return err
	}
	log := cmp.Or(cfg.Log, zap.NewNop())
	if forgotten > 0 {
		log.Info("embedded clickhouse: forgot inserts that were not finished when the last engine died", zap.Int("blocks", forgotten))
	}
	e.args = []string{"clickhouse", "--path=" + e.dir, "--config-file=" + config}
	if e.anchor, err = e.library.start(e.args); err != nil {
		return fmt.Errorf("starting the engine on %s: %w; a process can run one engine only, and the folder must be writable "+
			"and hold data of this version or an older one", e.dir, err)
	}
	if err := e.introduce(ctx); err != nil {
		return err
	}
	if cfg.room == nil {
		cfg.room = freeBytes
	}
	e.disk = watchDisk(e, cfg.room, log)
	return nil
}

// introduce asks the engine what clients will ask the server.
func (e *Engine) introduce(ctx context.Context) error {
	out, err := e.Query(ctx, []byte("SELECT version(), displayName(), timezone()"), "TabSeparated")
	if err != nil {
		return fmt.Errorf("asking the engine for its version: %w", err)
	}
	fields := strings.Split(strings.TrimSpace(string(out)), "\t")
	if len(fields) != 3 {
		return fmt.Errorf("asking the engine for its version: %d fields instead of 3", len(fields))
	}
	e.version, e.displayName, e.timezone = fields[0], fields[1], fields[2]
	return nil
}

func (e *Engine) prepareDir(dir string) (err error) {
	if dir == "" {
		if e.dir, err = os.MkdirTemp("", "sira-clickhouse-*"); err != nil {
			return err
		}
		e.temporary = true
	} else {
		if e.dir, err = filepath.Abs(dir); err != nil {
			return err
		}
		if err := os.MkdirAll(e.dir, 0o700); err != nil {
			return err
		}
	}
	if e.lock, err = lockDir(e.dir); err != nil {
		return err
	}
	// On a folder without metadata the engine starts no background drops: DROP ... SYNC would wait for ever, and dropped data
	// stay, until it starts again (chdb-core#173, present in 26.5).
	return os.MkdirAll(filepath.Join(e.dir, "metadata"), 0o750)
}

// Dir returns the folder of the data.
func (e *Engine) Dir() string { return e.dir }

// Version returns ClickHouse's version, for example 26.5.1.1.
func (e *Engine) Version() string { return e.version }

// Close cancels what runs, waits for it, stops the engine and releases the folder. If a statement has not ended after 30 s the
// engine is left as it is and Close says so. Further calls return nil.
func (e *Engine) Close() error {
	select {
	case <-e.closed:
	default:
		return nil
	}
	e.disk.close()
	close(e.closing)
	limit := time.NewTimer(closeTimeout)
	defer limit.Stop()
	for range cap(e.slots) {
		select {
		case e.slots <- struct{}{}:
		case <-limit.C:
			return fmt.Errorf("closing embedded clickhouse: statements still run after %v", closeTimeout)
		}
	}
	return e.shut()
}

// shut undoes as much of start as was done.
func (e *Engine) shut() error {
	if e.anchor != nil {
		e.anchor.close()
	}
	var errs []error
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	if e.temporary {
		errs = append(errs, os.RemoveAll(e.dir))
	}
	return errors.Join(errs...)
}
