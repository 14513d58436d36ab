package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// Public keeps media as files of a folder that a web server shows to everybody who
// knows a file's name, which nobody can guess. It is safe for concurrent use, also by
// several processes.
type Public struct{ dir, url string }

// NewPublic returns a place in dir, whose files are found below url.
func NewPublic(dir, url string) *Public { return &Public{dir, strings.TrimSuffix(url, "/")} }

// Publish puts a medium there and returns the name and the address of the file.
func (p *Public) Publish(_ context.Context, m *schemas.Media) (name, url string, err error) {
	var random [16]byte
	_, _ = rand.Read(random[:]) // it never fails
	name = hex.EncodeToString(random[:]) + ending(m.MIME)
	if err := os.MkdirAll(p.dir, 0o755); err != nil { //nolint:gosec // the web server may be another user
		return "", "", fmt.Errorf("making folder of public files: %w", err)
	}
	// Nobody knows the name yet, so nobody reads half of it.
	if err := os.WriteFile(filepath.Join(p.dir, name), m.Data, 0o644); err != nil { //nolint:gosec // as above
		return "", "", fmt.Errorf("writing public file: %w", errors.Join(err, p.remove(name)))
	}
	return name, p.url + "/" + name, nil
}

// Withdraw removes a file. It returns no error for one that is not there.
func (p *Public) Withdraw(_ context.Context, name string) error {
	if random, _, _ := strings.Cut(name, "."); len(random) != 32 || strings.ContainsAny(name, `/\`) {
		return ErrBadReference
	}
	return p.remove(name)
}

func (p *Public) remove(name string) error {
	if err := os.Remove(filepath.Join(p.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing public file: %w", err)
	}
	return nil
}

// ending is how names of a media type end, so that web servers know it.
func ending(mime string) string {
	mime, _, _ = strings.Cut(mime, ";")
	switch mime {
	case "image/png", "image/gif", "image/webp", "image/heic", "audio/flac", "audio/ogg", "audio/aac", "video/mp4", "video/webm", "application/pdf":
		return "." + mime[strings.IndexByte(mime, '/')+1:]
	case "image/jpeg":
		return ".jpg"
	case "audio/mpeg", "audio/mp3":
		return ".mp3"
	case "audio/wav", "audio/x-wav", "audio/wave":
		return ".wav"
	case "video/quicktime":
		return ".mov"
	case "text/plain":
		return ".txt"
	}
	return ""
}
