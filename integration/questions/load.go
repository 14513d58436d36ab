package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/sinks/clickhouse"
	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

const (
	database = "questions"
	// moment is now, as far as the questions know. The load ends there.
	moment = "2026-11-15 00:00:00"
	// chunk is how many requests are loaded at once: large parts, little memory.
	chunk = 250_000
	// auditOf is one in how many requests that gets a row of the audit log, which no
	// question asks.
	auditOf = 10
)

// house is an embedded engine with Sira's tables.
type house struct {
	engine *embedded.Engine
}

// open starts an engine on a folder, or a temporary one, and makes the tables.
func open(ctx context.Context, dir string) (*house, error) {
	e, err := embedded.Open(ctx, embedded.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	server, err := embedded.Serve(ctx, embedded.ServerConfig{Addr: "127.0.0.1:0"}, e)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	_, err = clickhouse.Migrate(ctx, "http://default:@"+server.Addr()+"/"+database)
	if err = errors.Join(err, server.Close()); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return &house{e}, nil
}

func (h *house) run(ctx context.Context, sql, format string) (embedded.Result, error) {
	return h.engine.Run(ctx, embedded.Statement{SQL: []byte(sql), Database: database, Format: format})
}

// load fills the tables with the rows of n requests. Views fill the rollups, as
// they do behind the recorder.
func (h *house) load(ctx context.Context, n int, say func(string, ...any)) error {
	traffic, err := files.ReadFile("load/traffic.sql")
	if err != nil {
		return fmt.Errorf("reading load: %w", err)
	}
	for first := 0; first < n; first += chunk {
		count := min(chunk, n-first)
		for _, table := range []string{"requests", "attempts", "costs", "audit"} {
			text, err := files.ReadFile("load/" + table + ".sql")
			if err != nil {
				return fmt.Errorf("reading load: %w", err)
			}
			from, rows := first, count
			if table == "audit" {
				from, rows = first/auditOf, count/auditOf
			}
			sql := strings.NewReplacer("{first}", strconv.Itoa(from), "{count}", strconv.Itoa(rows), "{total}", strconv.Itoa(n), "{end}", moment).
				Replace(strings.Replace(string(text), "{traffic}", string(traffic), 1))
			if _, err := h.run(ctx, sql, ""); err != nil {
				return fmt.Errorf("loading %s: %w", table, err)
			}
		}
		say("%d of %d requests are loaded", first+count, n)
	}
	return nil
}

// settle merges all parts, so that sizes are those that tables have in the end.
func (h *house) settle(ctx context.Context, tables []size) error {
	for _, t := range tables {
		if _, err := h.run(ctx, "OPTIMIZE TABLE "+t.Table+" FINAL", ""); err != nil {
			return fmt.Errorf("merging %s: %w", t.Table, err)
		}
	}
	return nil
}
