package avro

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxLine bounds a line of the journal in bytes: a schema whose every byte
// needed the longest JSON escape would fit.
const maxLine = 6*maxSchema + 64<<10

// journal is an append-only file of JSON lines, one change each. A line counts
// once its line end is on disk. What a killed process left without one was
// never acknowledged and is cut off when the file is next opened.
type journal struct {
	file *os.File
	size int64 // of the complete lines
	err  error // set for good once the file's state is unknown
}

func openJournal(path string, replay func(change) error) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f}
	if err := j.recover(replay); err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), f.Close())
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

func (j *journal) recover(replay func(change) error) error {
	if err := lockFile(j.file); err != nil {
		return fmt.Errorf("another process uses it: %w", err)
	}
	var err error
	if j.size, err = readJournal(j.file, replay); err != nil {
		return err
	}
	return j.cut()
}

// cut drops everything after the complete lines.
func (j *journal) cut() error {
	if err := j.file.Truncate(j.size); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	_, err := j.file.Seek(j.size, io.SeekStart)
	return err
}

// readJournal calls replay for every complete line and returns their length in
// bytes. An unfinished last line is left out. A complete line that makes no
// sense is an error: skipping it could give its id to another schema.
func readJournal(r io.Reader, replay func(change) error) (size int64, err error) {
	buf := bufio.NewReader(r)
	var line []byte
	for number := 1; ; number++ {
		line, err = readLine(buf, line[:0])
		switch {
		case errors.Is(err, io.EOF):
			return size, nil
		case err != nil:
			return size, fmt.Errorf("line %d: %w", number, err)
		}
		c, err := decodeChange(line)
		if err != nil {
			return size, fmt.Errorf("line %d: %w", number, err)
		}
		if err := replay(c); err != nil {
			return size, fmt.Errorf("line %d: %w", number, err)
		}
		size += int64(len(line))
	}
}

// readLine appends a line with its end to dst. The error is io.EOF if the end
// is missing.
func readLine(r *bufio.Reader, dst []byte) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		dst = append(dst, part...)
		if len(dst) > maxLine {
			return dst, fmt.Errorf("it is longer than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return dst, err
		}
	}
}

func decodeChange(line []byte) (change, error) {
	var c change
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return change{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return change{}, errors.New("something follows the change")
	}
	return c, nil
}

// append returns once the change is on disk. If it can't write, it takes the
// line back; if it can't tell what is on disk, it refuses everything from then
// on, since a later line could hide a lost one.
func (j *journal) append(c change) error {
	if j.err != nil {
		return j.err
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return err
	}
	if _, err := j.file.Write(line.Bytes()); err != nil {
		if cutErr := j.cut(); cutErr != nil {
			j.err = fmt.Errorf("writing the journal: %w", errors.Join(err, cutErr))
			return j.err
		}
		return fmt.Errorf("writing the journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		j.err = fmt.Errorf("flushing the journal, reopen it to find out what was kept: %w", err)
		return j.err
	}
	j.size += int64(line.Len())
	return nil
}

func (j *journal) close() error {
	if j.err == nil {
		j.err = os.ErrClosed
	}
	return j.file.Close()
}

// syncDir makes a new file's name survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
