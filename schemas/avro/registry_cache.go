package avro

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// registryCache keeps on disk what one registry answered: a file of JSON lines,
// appended to with one write each, so that several processes may share it. A
// line that can't be read is skipped: the registry still knows.
type registryCache struct {
	dir, file string

	mu     sync.Mutex
	loaded bool
}

// cacheEntry says that the registry has Schema under ID and, if Subject is not
// empty, that the schema is registered under that subject.
type cacheEntry struct {
	ID      int    `json:"id"`
	Subject string `json:"subject,omitempty"`
	Schema  string `json:"schema"`
}

// newRegistryCache names the file after the registry's addresses: the ids of
// one registry mean nothing in another.
func newRegistryCache(dir string, urls []string) *registryCache {
	name := fmt.Sprintf("schemas-%016x.jsonl", xxhash.Sum64String(strings.Join(urls, "\n")))
	return &registryCache{dir: dir, file: filepath.Join(dir, name)}
}

// load calls keep for every entry. Only the first call that succeeds reads the
// file.
func (c *registryCache) load(keep func(cacheEntry)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded {
		return nil
	}
	f, err := os.Open(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		c.loaded = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading cache_dir: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := readCache(f, keep); err != nil {
		return fmt.Errorf("reading cache_dir: %w", err)
	}
	c.loaded = true
	return nil
}

func readCache(r io.Reader, keep func(cacheEntry)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxReply)
	for lines.Scan() {
		var e cacheEntry
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.ID > 0 && e.Schema != "" {
			keep(e)
		}
	}
	if err := lines.Err(); !errors.Is(err, bufio.ErrTooLong) {
		return err
	}
	return nil
}

// append begins with a line end, so that what a killed process left half
// written spoils no other line.
func (c *registryCache) append(e cacheEntry) error {
	var line bytes.Buffer
	line.WriteByte('\n')
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("writing to cache_dir: %w", err)
	}
	if line.Len() > maxReply {
		return nil // load would stop there
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("writing to cache_dir: %w", err)
	}
	f, err := os.OpenFile(c.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("writing to cache_dir: %w", err)
	}
	_, err = f.Write(line.Bytes())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing to cache_dir: %w", err)
	}
	return nil
}
