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
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// Version is the release of chDB that .ci/fetch-chdb installs and this package is tested with.
	Version = "26.5.3"

	libraryFile = "libchdb.so"
	engineFile  = "sira-engine.xml"

	defaultMaxConcurrent = 16
	defaultFormat        = "TabSeparated"
	killInterval         = 50 * time.Millisecond
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
	if err := os.WriteFile(config, []byte("<clickhouse></clickhouse>\n"), 0o600); err != nil {
		return err
	}
	e.args = []string{"clickhouse", "--path=" + e.dir, "--config-file=" + config}
	if e.anchor, err = e.library.start(e.args); err != nil {
		return fmt.Errorf("starting the engine on %s: %w; a process can run one engine only, and the folder must be writable "+
			"and hold data of this version or an older one", e.dir, err)
	}
	return e.introduce(ctx)
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
	e.lock, err = lockDir(e.dir)
	return err
}

// Dir returns the folder of the data.
func (e *Engine) Dir() string { return e.dir }

// Version returns ClickHouse's version, for example 26.5.1.1.
func (e *Engine) Version() string { return e.version }

// Statement is one SQL statement and what it runs under.
type Statement struct {
	SQL []byte
	// Format is the format of the answer if SQL has no FORMAT clause. Empty means TabSeparated.
	Format string
	// Database is the current database. Empty means default.
	Database string
	// Settings hold for this statement only. log_comment is overwritten: it names the statement for KILL QUERY.
	Settings map[string]string
	// Params are the values of {name:Type} in SQL, escaped as in a TabSeparated field (\n for a newline, \N for NULL).
	Params map[string]string
	// ReadOnly refuses everything but queries and changes of settings (readonly=2).
	ReadOnly bool
}

// Result is the answer to a statement and what it cost.
type Result struct {
	Data []byte
	// Rows is the number of rows in Data.
	Rows                      uint64
	ReadRows, ReadBytes       uint64
	WrittenRows, WrittenBytes uint64
	Elapsed                   time.Duration
}

// Query runs one statement and returns its answer in format, which a FORMAT clause overrides. The engine's own errors are
// *Exception. When ctx ends the statement is cancelled and the error is ctx's.
//
// An INSERT with data in the statement must hold text: the engine cuts binary data at its first newline.
func (e *Engine) Query(ctx context.Context, sql []byte, format string) ([]byte, error) {
	result, err := e.Run(ctx, Statement{SQL: sql, Format: format})
	return result.Data, err
}

// Run is Query with settings, parameters and numbers. It returns when the engine has let go of the statement, which for a
// cancelled one is normally within 100 ms; part of a cancelled INSERT may have been written.
func (e *Engine) Run(ctx context.Context, s Statement) (Result, error) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return Result{}, fmt.Errorf("waiting for a turn: %w", context.Cause(ctx))
	case <-e.closing:
		return Result{}, ErrClosed
	}
	select {
	case <-e.closing:
		return Result{}, ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("running a statement: %w", context.Cause(ctx))
	}
	connection, err := e.library.open(e.args)
	if err != nil {
		return Result{}, fmt.Errorf("running a statement: %w", err)
	}
	defer connection.close()
	result, err := e.run(ctx, connection, s)
	if err == nil {
		return result, nil
	}
	select {
	case <-e.closing:
		return Result{}, errors.Join(ErrClosed, err)
	default:
	}
	if ctx.Err() != nil {
		return Result{}, errors.Join(context.Cause(ctx), err)
	}
	return Result{}, err
}

func (e *Engine) run(ctx context.Context, connection *session, s Statement) (Result, error) {
	mark := rand.Text()
	sql, err := sessionSQL(s, mark)
	if err != nil {
		return Result{}, err
	}
	if _, err := connection.query(sql, defaultFormat, nil); err != nil {
		return Result{}, err
	}
	finished, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		e.killWhenOver(ctx, mark, finished)
	}()
	defer func() {
		close(finished)
		<-watched
	}()
	return connection.query(s.SQL, cmp.Or(s.Format, defaultFormat), s.Params)
}

// killWhenOver cancels the statement when ctx ends or the engine closes, again and again until it has finished: the first
// KILL may come before the engine has listed the statement.
func (e *Engine) killWhenOver(ctx context.Context, mark string, finished <-chan struct{}) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	case <-e.closing:
	}
	kill := []byte("KILL QUERY WHERE Settings['log_comment'] = '" + mark + "' ASYNC")
	again := time.NewTicker(killInterval)
	defer again.Stop()
	for {
		// If the engine refuses the connection or the KILL, the next round tries anew.
		if connection, err := e.library.open(e.args); err == nil {
			_, _ = connection.query(kill, defaultFormat, nil)
			connection.close()
		}
		select {
		case <-finished:
			return
		case <-again.C:
		}
	}
}

// sessionSQL is what a fresh connection is told before the statement.
func sessionSQL(s Statement, mark string) ([]byte, error) {
	var sql []byte
	if s.Database != "" {
		sql = append(sql, "USE "...)
		sql = append(appendQuoted(sql, '`', s.Database), "; "...)
	}
	sql = append(sql, "SET log_comment = '"+mark+"'"...)
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		value := s.Settings[name]
		switch {
		case !isIdentifier(name):
			return nil, newException(codeUnknownSetting, "Unknown setting '%s'", name)
		case name == "log_comment", name == "readonly" && s.ReadOnly && value == "0":
			continue
		}
		sql = append(sql, ", "+name+" = "...)
		sql = appendQuoted(sql, '\'', value)
	}
	if readonly := s.Settings["readonly"]; s.ReadOnly && (readonly == "" || readonly == "0") {
		sql = append(sql, ", readonly = 2"...)
	}
	return sql, nil
}

// appendQuoted appends s in quotes, so that whatever it holds stays inside them.
func appendQuoted(sql []byte, quote byte, s string) []byte {
	sql = append(sql, quote)
	for i := range len(s) {
		if s[i] == quote || s[i] == '\\' {
			sql = append(sql, '\\')
		}
		sql = append(sql, s[i])
	}
	return append(sql, quote)
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		if !isWordByte(s[i]) || i == 0 && s[i] >= '0' && s[i] <= '9' {
			return false
		}
	}
	return s != ""
}

// spool returns an unnamed file in the data folder. Its data is gone when it is closed, or when the process dies.
func (e *Engine) spool() (*os.File, error) {
	f, err := os.CreateTemp(e.dir, "sira-insert-*")
	if err != nil {
		return nil, fmt.Errorf("spooling an insert: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("spooling an insert: %w", err), f.Close())
	}
	return f, nil
}

// Close cancels what runs, waits for it, stops the engine and releases the folder. If a statement has not ended after 30 s the
// engine is left as it is and Close says so. Further calls return nil.
func (e *Engine) Close() error {
	select {
	case <-e.closed:
	default:
		return nil
	}
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
