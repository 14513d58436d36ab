package main

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed sql/*.sql load/*.sql
var files embed.FS

// question is one that data teams ask, with two ways to the same answer.
type question struct {
	Name  string // of its file, without number and ending
	Words string
	// Rollup asks the views with names that stay, Raw the tables that events are in.
	Rollup, Raw string
}

// questions returns all of them in the order of their files, which are a line
// with the question, the SQL over rollups and, behind a line "-- raw", over facts.
func questions() ([]question, error) {
	names, err := fs.Glob(files, "sql/*.sql")
	if err != nil {
		return nil, fmt.Errorf("listing questions: %w", err)
	}
	out := make([]question, 0, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading question: %w", err)
		}
		words, sql, _ := strings.Cut(strings.TrimPrefix(string(text), "-- "), "\n")
		rollup, raw, ok := strings.Cut(sql, "\n-- raw\n")
		if !ok {
			return nil, fmt.Errorf("reading question %s: it has no line \"-- raw\"", name)
		}
		_, short, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".sql"), "-")
		out = append(out, question{short, words, strings.TrimSpace(rollup), strings.TrimSpace(raw)})
	}
	return out, nil
}

// at makes SQL speak of a fixed moment instead of now.
func at(sql, moment string) string {
	return strings.ReplaceAll(sql, "now()", "toDateTime('"+moment+"', 'UTC')")
}
