// Package blob keeps payloads that are too large for a Kafka record. A payload is
// named by its content, so storing it twice is harmless and a reference can be
// checked when it is resolved.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// scheme begins every reference: sha256:<64 hex digits>.
const scheme = "sha256:"

// ErrNotFound means that no payload of that name is kept here; it may have been
// removed by age.
var ErrNotFound = errors.New("no such payload")

// ErrBadReference means that a reference has no form that this store writes, or
// that the bytes behind it are not the ones it names.
var ErrBadReference = errors.New("bad payload reference")

// ErrTooLarge means that a payload is larger than the store reads.
var ErrTooLarge = errors.New("payload too large")

// Folder keeps payloads as files of one folder, which workers and producers
// share. It is safe for concurrent use, also by several processes.
type Folder struct {
	dir string
	max int64 // largest payload that Get returns, bytes
}

// NewFolder returns a store in dir, which is made when the first payload comes.
func NewFolder(dir string, maxBytes int64) *Folder { return &Folder{dir: dir, max: maxBytes} }

// Put keeps b and returns its reference. When Put returns, the payload survives
// the death of the process and of the machine.
func (f *Folder) Put(_ context.Context, b []byte) (string, error) {
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:])
	path := f.path(name)
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(b)) {
		return scheme + name, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", fmt.Errorf("making folder for payload: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+name[:8]+"-*")
	if err != nil {
		return "", fmt.Errorf("making payload file: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return "", fmt.Errorf("writing payload: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", fmt.Errorf("naming payload: %w", err)
	}
	return scheme + name, nil
}

// Size returns how large the payload of a reference is, bytes, with the errors of
// Get.
func (f *Folder) Size(_ context.Context, ref string) (int64, error) {
	name, err := named(ref)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(f.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, ErrNotFound
	case err != nil:
		return 0, fmt.Errorf("looking for payload: %w", err)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%w: it is no file", ErrBadReference)
	case info.Size() > f.max:
		return 0, ErrTooLarge
	}
	return info.Size(), nil
}

func named(ref string) (string, error) {
	name, ok := strings.CutPrefix(ref, scheme)
	if raw, err := hex.DecodeString(name); !ok || err != nil || len(raw) != sha256.Size || strings.ToLower(name) != name {
		return "", ErrBadReference
	}
	return name, nil
}

// Get returns the payload of a reference. Errors wrap ErrNotFound, ErrBadReference
// or ErrTooLarge when asking again is of no use.
func (f *Folder) Get(ctx context.Context, ref string) ([]byte, error) {
	size, err := f.Size(ctx, ref)
	if err != nil {
		return nil, err
	}
	name := ref[len(scheme):]
	file, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("opening payload: %w", err)
	}
	defer file.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(file, b); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading payload: %w", err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != name {
		return nil, fmt.Errorf("%w: the content does not match", ErrBadReference)
	}
	return b, nil
}

// Mark keeps a name for good and reports whether it was kept before. When it
// returns, the name survives the death of the process and of the machine.
func (f *Folder) Mark(_ context.Context, name string) (already bool, err error) {
	sum := sha256.Sum256([]byte(name))
	path := filepath.Join(f.dir, "marks", hex.EncodeToString(sum[:]))
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return false, fmt.Errorf("making folder for marks: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("making mark: %w", err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return false, fmt.Errorf("writing mark: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return false, fmt.Errorf("keeping mark: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return false, fmt.Errorf("keeping mark: %w", err)
	}
	return false, nil
}

// path spreads payloads over 256 folders.
func (f *Folder) path(name string) string { return filepath.Join(f.dir, name[:2], name) }
