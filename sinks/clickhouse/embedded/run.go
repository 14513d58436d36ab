package embedded

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"
)

const (
	defaultFormat = "TabSeparated"
	killInterval  = 50 * time.Millisecond
)

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
