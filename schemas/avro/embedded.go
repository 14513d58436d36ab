package avro

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/twmb/avro"
)

const (
	journalName = "schemas.jsonl"
	// maxSchema bounds a schema's text, in bytes.
	maxSchema = 1 << 20
	// maxSubject bounds a subject's name, in bytes.
	maxSubject = 512
)

// EmbeddedConfig sets up an embedded registry.
type EmbeddedConfig struct {
	// Dir is the folder that keeps the registry's file. It is created if need
	// be. One process at a time may use it.
	Dir string `json:"dir"`
	// Listen is the address of the HTTP interface. 127.0.0.1:8081 unless set;
	// port 0 takes a free one. The interface asks for no password: name another
	// host than a loopback address only where everyone who can reach it may
	// change schemas.
	Listen string `json:"listen,omitempty"`
}

func (c EmbeddedConfig) withDefaults() EmbeddedConfig {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8081"
	}
	return c
}

// Validate reports everything that is wrong at once, and what to write instead.
func (c EmbeddedConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("dir is empty: write the folder that keeps the schemas"))
	}
	host, port, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("listen %q is no address: write host:port, for instance 127.0.0.1:8081", c.Listen))
	case host == "":
		errs = append(errs, fmt.Errorf("listen %q names no host: write 127.0.0.1:%s, or 0.0.0.0:%s to let other machines in", c.Listen, port, port))
	}
	return errors.Join(errs...)
}

// EmbeddedRegistry is a schema registry in this process. It keeps Avro schemas
// in one file, checks that they stay compatible, and serves the part of
// Confluent's REST interface that clients use. It does not do references
// between schemas, contexts, import mode or data contracts, and says so.
//
// A change is on disk before it is answered: after a kill -9 everything
// acknowledged is there. All methods may be called at once.
type EmbeddedRegistry struct {
	listen string

	mu      sync.RWMutex
	state   registryState
	journal *journal
}

// OpenEmbedded reads the registry's file, or begins one, and locks it.
func OpenEmbedded(cfg EmbeddedConfig) (*EmbeddedRegistry, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening the embedded schema registry: %w", err)
	}
	e := &EmbeddedRegistry{listen: cfg.Listen, state: newRegistryState()}
	var err error
	e.journal, err = openJournal(filepath.Join(cfg.Dir, journalName), e.state.replay)
	if err != nil {
		return nil, fmt.Errorf("opening the embedded schema registry: %w", err)
	}
	return e, nil
}

// Close gives the file free. Calls after it fail.
func (e *EmbeddedRegistry) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.journal.close()
}

// Register returns the id of a schema under a subject, as [Registry.Register]
// does, without the way through HTTP.
func (e *EmbeddedRegistry) Register(ctx context.Context, subject, schema string) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	id, err := e.add(subject, schema)
	if err != nil {
		return 0, fmt.Errorf("registering the schema of %s: %w", subject, err)
	}
	return id, nil
}

// SchemaByID returns the text of the schema with that id, as
// [Registry.SchemaByID] does, without the way through HTTP.
func (e *EmbeddedRegistry) SchemaByID(_ context.Context, id int) (string, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s, ok := e.state.schemas[id]
	if !ok {
		return "", fmt.Errorf("%w: id %d", ErrUnknownSchema, id)
	}
	return s.text, nil
}

// add registers a schema: the same schema has the same id under every subject
// and for ever, and a new one must agree with the subject's compatibility
// level.
func (e *EmbeddedRegistry) add(subject, text string) (int, error) {
	if err := checkSubject(subject); err != nil {
		return 0, err
	}
	schema, err := parseSchema(text)
	if err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	id, known := e.state.ids[schema.identity]
	if known {
		if _, ok := e.state.liveByID(subject, id); ok {
			return id, nil
		}
	}
	if reasons := e.state.conflicts(subject, schema.parsed); len(reasons) > 0 {
		return 0, errIncompatible(subject, reasons)
	}
	c := change{Op: opRegister, Subject: subject, Version: e.state.nextVersion(subject), ID: id}
	if !known {
		c.ID, c.Schema = e.state.lastID+1, text
	}
	return c.ID, e.commit(c)
}

// commit makes a change permanent and then visible. It needs e.mu.
func (e *EmbeddedRegistry) commit(c change) error {
	next, err := e.state.prepare(c)
	if err != nil {
		return errStore(err)
	}
	if err := e.journal.append(c); err != nil {
		return errStore(err)
	}
	next()
	return nil
}

// storedSchema is a schema as it was sent, and what was read out of it.
type storedSchema struct {
	text     string
	identity string
	parsed   *avro.Schema
}

func parseSchema(text string) (storedSchema, error) {
	if len(text) > maxSchema {
		return storedSchema{}, errSchemaTooLarge(len(text))
	}
	identity, err := identityOf(text)
	if err != nil {
		return storedSchema{}, errInvalidSchema(err)
	}
	parsed, err := avro.Parse(text)
	if err != nil {
		return storedSchema{}, errInvalidSchema(err)
	}
	return storedSchema{text: text, identity: identity, parsed: parsed}, nil
}
