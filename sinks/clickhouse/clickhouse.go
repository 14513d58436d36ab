// Package clickhouse keeps events in ClickHouse: it owns the tables, moves events
// from Kafka into them exactly once, and asks the questions behind reports.
package clickhouse

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// DefaultDatabase is used when a DSN names none.
const DefaultDatabase = "sira"

// Open returns a connection pool for a DSN: clickhouse://user:password@host:9000/db
// for the native protocol, http:// or https:// for HTTP. It does not connect.
func Open(dsn string) (driver.Conn, string, error) {
	opts, err := options(dsn)
	if err != nil {
		return nil, "", err
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, "", fmt.Errorf("opening clickhouse: %w", err)
	}
	return conn, opts.Auth.Database, nil
}

func options(dsn string) (*clickhouse.Options, error) {
	opts, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		// The driver's error may quote the DSN, and with it the password.
		return nil, errors.New("reading clickhouse dsn: write clickhouse://user:password@host:9000/database, or http(s)://…")
	}
	if opts.Auth.Database == "" {
		opts.Auth.Database = DefaultDatabase
	}
	opts.DialTimeout = 5 * time.Second
	opts.ReadTimeout = 2 * time.Minute
	if opts.Compression == nil {
		opts.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	return opts, nil
}

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migration is one numbered step of the tables' history.
type Migration struct {
	Version    int
	Name       string
	Statements []string
	Checksum   string // of the text, to notice one that was changed after it was applied
}

// Migrations returns all steps in order.
func Migrations() ([]Migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("listing migrations: %w", err)
	}
	slices.Sort(names)
	out := make([]Migration, 0, len(names))
	for _, path := range names {
		text, err := fs.ReadFile(migrationFiles, path)
		if err != nil {
			return nil, fmt.Errorf("reading migration: %w", err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		version, err := strconv.Atoi(name[:4])
		if err != nil {
			return nil, fmt.Errorf("reading migration %s: the name must begin with four digits", name)
		}
		sum := sha256.Sum256(text)
		out = append(out, Migration{Version: version, Name: name, Statements: statements(string(text)), Checksum: hex.EncodeToString(sum[:8])})
	}
	return out, nil
}

var comment = regexp.MustCompile(`(?m)^--.*$`)

// statements splits a migration at semicolons that end a line.
func statements(text string) []string {
	var out []string
	for s := range strings.SplitSeq(comment.ReplaceAllString(text, ""), ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// ErrChangedMigration means that a step was edited after it had been applied.
var ErrChangedMigration = errors.New("migration was changed after it was applied")

// fillTimeout bounds a statement of a migration. A new rollup is filled from all
// that its table holds.
const fillTimeout = time.Hour

// Migrate brings the database to the newest step and returns the steps that it
// applied. Every statement may run again, so a step that was cut off, or that two
// processes apply at once, ends well. With large tables and new rollups it takes
// minutes; recorders of the version before go on meanwhile.
func Migrate(ctx context.Context, dsn string) ([]Migration, error) {
	all, err := Migrations()
	if err != nil {
		return nil, err
	}
	return bring(ctx, dsn, all)
}

// bring makes the database and applies the steps that it lacks.
func bring(ctx context.Context, dsn string, all []Migration) ([]Migration, error) {
	opts, err := options(dsn)
	if err != nil {
		return nil, err
	}
	database := opts.Auth.Database
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(database) {
		return nil, fmt.Errorf("reading clickhouse dsn: %q is no name for a database", database)
	}
	opts.Auth.Database = "default"
	admin, err := clickhouse.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("opening clickhouse: %w", err)
	}
	err = admin.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+database)
	if err = errors.Join(err, admin.Close()); err != nil {
		return nil, fmt.Errorf("creating database %s: %w", database, err)
	}
	opts.Auth.Database, opts.ReadTimeout = database, fillTimeout
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("opening clickhouse: %w", err)
	}
	defer conn.Close()
	return migrate(ctx, conn, all)
}

func migrate(ctx context.Context, conn driver.Conn, all []Migration) ([]Migration, error) {
	err := conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32, name String, checksum String, applied_at DateTime('UTC'))
ENGINE = ReplacingMergeTree ORDER BY version`)
	if err != nil {
		return nil, fmt.Errorf("creating table of migrations: %w", err)
	}
	known, err := applied(ctx, conn)
	if err != nil {
		return nil, err
	}
	var done []Migration
	for _, m := range all {
		if sum, ok := known[m.Version]; ok {
			if sum != m.Checksum {
				return done, fmt.Errorf("%w: %s", ErrChangedMigration, m.Name)
			}
			continue
		}
		for i, s := range m.Statements {
			err := conn.Exec(ctx, s)
			if err == nil && pausing.MatchString(s) {
				err = quiet(ctx, conn)
			}
			if err != nil {
				return done, fmt.Errorf("applying migration %s, statement %d: %w", m.Name, i+1, err)
			}
		}
		if err := conn.Exec(ctx, "INSERT INTO schema_migrations VALUES (?, ?, ?, ?)", uint32(m.Version), m.Name, m.Checksum, time.Now().UTC()); err != nil {
			return done, fmt.Errorf("noting migration %s: %w", m.Name, err)
		}
		done = append(done, m)
	}
	return done, nil
}

// pausing is a statement that refuses inserts from now on. Recorders try again
// until a later one lifts it.
var pausing = regexp.MustCompile(`^ALTER TABLE \w+ ADD CONSTRAINT IF NOT EXISTS c_paused `)

// quiet returns when the inserts have ended that began before they were refused.
func quiet(ctx context.Context, conn driver.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	for since := time.Now(); ; {
		var running uint64
		const sql = "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = currentDatabase() AND elapsed >= ?"
		if err := conn.QueryRow(ctx, sql, time.Since(since).Seconds()).Scan(&running); err != nil {
			return fmt.Errorf("waiting for inserts to end: %w", err)
		}
		if running == 0 {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for inserts to end: %d still run: %w", running, ctx.Err())
		}
	}
}

// Pending returns the steps that a database lacks, and changes nothing. The error
// is ErrChangedMigration if one was edited after it had been applied.
func Pending(ctx context.Context, conn driver.Conn) ([]Migration, error) {
	all, err := Migrations()
	if err != nil {
		return nil, err
	}
	known, err := applied(ctx, conn)
	if NotMade(err) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Migration
	for _, m := range all {
		switch sum, ok := known[m.Version]; {
		case !ok:
			out = append(out, m)
		case sum != m.Checksum:
			return out, fmt.Errorf("%w: %s", ErrChangedMigration, m.Name)
		}
	}
	return out, nil
}

// NotMade reports whether ClickHouse answered that the database or the table does
// not exist, which Migrate mends.
func NotMade(err error) bool {
	const unknownTable, unknownDatabase = 60, 81 // src/Common/ErrorCodes.cpp
	var answer *clickhouse.Exception
	return errors.As(err, &answer) && (answer.Code == unknownTable || answer.Code == unknownDatabase)
}

func applied(ctx context.Context, conn driver.Conn) (map[int]string, error) {
	rows, err := conn.Query(ctx, "SELECT version, checksum FROM schema_migrations FINAL")
	if err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	defer rows.Close()
	known := map[int]string{}
	for rows.Next() {
		var version uint32
		var sum string
		if err := rows.Scan(&version, &sum); err != nil {
			return nil, fmt.Errorf("reading migrations: %w", err)
		}
		known[int(version)] = sum
	}
	return known, rows.Err()
}
