package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// lastInserts is how many inserts of a table are looked at after a start; far more than can have been under way.
const lastInserts = 256

// forgetLost makes the engine forget inserts that it noted and did not finish. The engine writes an insert's block into the table's
// deduplication log first and gives the part its name after that (26.5, MergeTreeSink). Killed in between, it takes the same
// insert for a copy when the client comes again, and the rows are in nobody's hands: a rollup lacked a batch that its table
// had. So blocks of parts that are not there are taken out of the log before the engine reads it. Where a part is
// gone for another reason, such as its age, that costs nothing: nobody repeats inserts that are so old.
func forgetLost(dir string) (blocks int, err error) {
	logs, err := filepath.Glob(filepath.Join(dir, "store", "*", "*", "deduplication_logs"))
	if err != nil {
		return 0, err
	}
	for _, l := range logs {
		n, err := forgetLostOf(l)
		if err != nil {
			return blocks, fmt.Errorf("repairing %s: %w", l, err)
		}
		blocks += n
	}
	return blocks, nil
}

// part is a part's place in its table: a part covers those that it was merged from.
type part struct {
	partition string
	min, max  int64
}

// parsePart reads a name such as 202611_1_28_5, or 202611_1_28_5_30 after a mutation.
func parsePart(name string) (p part, ok bool) {
	f := strings.Split(name, "_")
	if len(f) != 4 && len(f) != 5 {
		return p, false
	}
	var numbers [4]int64
	for i, text := range f[1:] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return p, false
		}
		numbers[i] = n
	}
	return part{f[0], numbers[0], numbers[1]}, f[0] != "" && numbers[0] <= numbers[1]
}

func (p part) covers(other part) bool {
	return p.partition == other.partition && p.min <= other.min && p.max >= other.max
}

// forgetLostOf takes blocks of lost parts out of the end of one table's log.
func forgetLostOf(logs string) (blocks int, err error) {
	entries, err := os.ReadDir(filepath.Dir(logs))
	if err != nil {
		return 0, err
	}
	var parts []part
	for _, e := range entries {
		if p, ok := parsePart(e.Name()); ok && e.IsDir() {
			parts = append(parts, p)
		}
	}
	files, err := newestLogs(logs)
	if err != nil {
		return 0, err
	}
	left := lastInserts
	for _, file := range files {
		if left <= 0 {
			break
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return blocks, err
		}
		kept, seen, lost := withoutLost(text, parts, left)
		left -= seen
		if lost == 0 {
			continue
		}
		blocks += lost
		if err := replace(file, kept); err != nil {
			return blocks, err
		}
	}
	return blocks, nil
}

// withoutLost returns the lines of a log without those among the last that note blocks of parts that are not there, how many
// lines it has looked at, and how many it left out. A last line without an end, as a full disk leaves it, is left out too: the
// engine names a part after its line.
func withoutLost(text []byte, parts []part, last int) (kept []byte, seen, lost int) {
	lines := slices.Collect(bytes.Lines(text))
	first := max(len(lines)-last, 0)
	kept = make([]byte, 0, len(text))
	for i, line := range lines {
		if i >= first && isLost(line, parts) {
			lost++
			continue
		}
		kept = append(kept, line...)
	}
	return kept, len(lines) - first, lost
}

func isLost(line []byte, parts []part) bool {
	if !bytes.HasSuffix(line, []byte("\n")) {
		return true
	}
	f := bytes.Split(line, []byte("\t")) // operation (1: added), part, block
	if len(f) != 3 || string(f[0]) != "1" {
		return false
	}
	p, ok := parsePart(string(f[1]))
	return ok && !slices.ContainsFunc(parts, func(there part) bool { return there.covers(p) })
}

// newestLogs returns the files of a deduplication log, the newest first.
func newestLogs(dir string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "deduplication_log_*.txt"))
	if err != nil {
		return nil, err
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "deduplication_log_"), ".txt"))
		return n
	}
	slices.SortFunc(names, func(a, b string) int { return number(b) - number(a) })
	return names, nil
}

// replace writes a file anew, as a whole or not at all.
func replace(file string, text []byte) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	next := file + ".sira"
	if err := os.WriteFile(next, text, info.Mode().Perm()); err != nil {
		return err
	}
	if err := os.Rename(next, file); err != nil {
		if gone := os.Remove(next); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return err
	}
	return nil
}
