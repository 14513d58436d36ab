package avro

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

var (
	// ErrUnknownSchema says that the registry answered and has no Avro schema
	// under that id. Records written with it can't be read: dead-letter them.
	ErrUnknownSchema = errors.New("unknown schema")

	// ErrIncompatibleSchema says that the registry refused a schema because
	// readers or writers of an earlier one would break. Change the schema.
	ErrIncompatibleSchema = errors.New("incompatible schema")

	// ErrInvalidSchema says that the registry can't read the schema at all.
	ErrInvalidSchema = errors.New("invalid schema")

	// ErrRegistryUnavailable says that the registry gave no answer to rely on:
	// it can't be reached, refuses our credentials, fails, or something else
	// answers at its address. Try again later and keep the record.
	ErrRegistryUnavailable = errors.New("schema registry unavailable")
)

const (
	// maxUnknownIDs bounds the memory of ids that do not exist, since any
	// producer can invent them.
	maxUnknownIDs = 4096
	// maxReply bounds what is read of one answer of the registry, in bytes.
	maxReply = 8 << 20
	// maxReason bounds how much of the registry's own words goes into an error.
	maxReason = 1024
)

// Registry reads and registers Avro schemas in any registry that speaks
// Confluent's API. What it learned it never asks again: an id stands for one
// schema for ever. All methods may be called at once.
type Registry struct {
	client     *sr.Client
	unknownFor time.Duration
	disk       *registryCache

	lookups  flights[int, string]
	register flights[subjectSchema, int]

	mu      sync.Mutex
	schemas map[int]string
	ids     map[subjectSchema]int
	unknown map[int]time.Time // id -> when to ask again
}

// subjectSchema names one registration.
type subjectSchema struct{ subject, schema string }

// NewRegistry checks the configuration and reads its certificates. It does not
// talk to the registry.
func NewRegistry(cfg RegistryConfig) (*Registry, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	transport, err := cfg.transport()
	if err != nil {
		return nil, err
	}
	opts := []sr.ClientOpt{
		sr.URLs(cfg.URLs...),
		sr.UserAgent("sira"),
		sr.HTTPClient(&http.Client{Timeout: cfg.Timeout, Transport: transport}),
	}
	if cfg.Username != "" {
		opts = append(opts, sr.BasicAuth(cfg.Username, string(cfg.Password)))
	}
	if cfg.Token != "" {
		opts = append(opts, sr.BearerToken(string(cfg.Token)))
	}
	client, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("setting up the schema registry client: %w", err)
	}
	r := &Registry{
		client:     client,
		unknownFor: cfg.UnknownFor,
		schemas:    make(map[int]string),
		ids:        make(map[subjectSchema]int),
		unknown:    make(map[int]time.Time),
	}
	if cfg.CacheDir != "" {
		r.disk = newRegistryCache(cfg.CacheDir, cfg.URLs)
	}
	return r, nil
}

// Register returns the id of a schema under a subject and registers it if the
// registry does not have it yet. With a cache directory it returns what an
// earlier process learned if the registry can't be reached.
//
// The error is ErrIncompatibleSchema or ErrInvalidSchema with the registry's
// reasons, ErrRegistryUnavailable, or the context's.
func (r *Registry) Register(ctx context.Context, subject, schema string) (int, error) {
	if err := r.warm(); err != nil {
		return 0, err
	}
	key := subjectSchema{subject, schema}
	id, err := r.register.do(ctx, key, func() (int, error) {
		id, err := r.client.RegisterSchema(ctx, subject, sr.Schema{Schema: schema}, -1, -1)
		if err == nil && id <= 0 {
			err = fmt.Errorf("it answered with the schema id %d", id)
		}
		if err != nil {
			err = reasonOf(ctx, err)
			if known, ok := r.registered(key); ok && errors.Is(err, ErrRegistryUnavailable) {
				return known, nil
			}
			return 0, err
		}
		return id, r.learn(cacheEntry{ID: id, Subject: subject, Schema: schema})
	})
	if err != nil {
		return 0, fmt.Errorf("registering the schema of %s: %w", subject, err)
	}
	return id, nil
}

// Compatible asks the registry whether a schema could be registered under a
// subject, and registers nothing. A subject that does not exist takes any schema.
//
// The error is ErrIncompatibleSchema or ErrInvalidSchema with the registry's
// reasons, ErrRegistryUnavailable, or the context's.
func (r *Registry) Compatible(ctx context.Context, subject, schema string) error {
	result, err := r.client.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), subject, -1, sr.Schema{Schema: schema})
	var answer *sr.ResponseError
	switch {
	case errors.As(err, &answer) && (answer.ErrorCode == sr.ErrSubjectNotFound.Code || answer.ErrorCode == sr.ErrVersionNotFound.Code):
		return nil
	case err != nil:
		return fmt.Errorf("checking the schema of %s: %w", subject, reasonOf(ctx, err))
	case !result.Is:
		return fmt.Errorf("checking the schema of %s: %w: %s", subject, ErrIncompatibleSchema, strings.ToValidUTF8(strings.Join(result.Messages, "; "), ""))
	}
	return nil
}

// SchemaByID returns the text of the schema with that id. It asks the registry
// only once for each id, however many callers wait for it. An id that does not
// exist is asked for again after a while, since it may be about to.
//
// The error is ErrUnknownSchema, ErrRegistryUnavailable or the context's.
func (r *Registry) SchemaByID(ctx context.Context, id int) (string, error) {
	if err := r.warm(); err != nil {
		return "", err
	}
	if schema, ok, err := r.known(id); ok || err != nil {
		return schema, err
	}
	schema, err := r.lookups.do(ctx, id, func() (string, error) {
		if schema, ok, err := r.known(id); ok || err != nil {
			return schema, err
		}
		return r.fetch(ctx, id)
	})
	if err != nil && !errors.Is(err, ErrUnknownSchema) {
		return "", fmt.Errorf("reading the schema with id %d: %w", id, err)
	}
	return schema, err
}

func (r *Registry) fetch(ctx context.Context, id int) (string, error) {
	got, err := r.client.SchemaByID(ctx, id)
	switch {
	case err != nil:
		err = reasonOf(ctx, err)
	case got.Type != sr.TypeAvro:
		err = fmt.Errorf("%w: id %d is a %s schema, not Avro", ErrUnknownSchema, id, got.Type)
	case len(got.References) > 0:
		err = fmt.Errorf("%w: id %d refers to other schemas; register it with those written out", ErrUnknownSchema, id)
	case got.Schema == "":
		err = fmt.Errorf("%w: it answered without a schema", ErrRegistryUnavailable)
	}
	if errors.Is(err, ErrUnknownSchema) {
		r.forget(id)
	}
	if err != nil {
		return "", err
	}
	// A cache directory that can't be written to is reported by Register. Here
	// the answer is good and the record should not wait for a disk.
	_ = r.learn(cacheEntry{ID: id, Schema: got.Schema})
	return got.Schema, nil
}

// known answers from memory: the schema, or that it was asked for a moment ago
// and does not exist.
func (r *Registry) known(id int) (string, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if schema, ok := r.schemas[id]; ok {
		return schema, true, nil
	}
	if until, ok := r.unknown[id]; ok && time.Now().Before(until) {
		return "", false, fmt.Errorf("%w: id %d", ErrUnknownSchema, id)
	}
	return "", false, nil
}

func (r *Registry) registered(key subjectSchema) (int, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := r.ids[key]
	return id, ok
}

func (r *Registry) learn(e cacheEntry) error {
	r.mu.Lock()
	_, known := r.schemas[e.ID]
	if e.Subject != "" {
		var id int
		id, known = r.ids[subjectSchema{e.Subject, e.Schema}]
		known = known && id == e.ID
	}
	r.keep(e)
	r.mu.Unlock()
	if known || r.disk == nil {
		return nil
	}
	return r.disk.append(e)
}

// keep needs r.mu.
func (r *Registry) keep(e cacheEntry) {
	delete(r.unknown, e.ID)
	r.schemas[e.ID] = e.Schema
	if e.Subject != "" {
		r.ids[subjectSchema{e.Subject, e.Schema}] = e.ID
	}
}

func (r *Registry) forget(id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.unknown) >= maxUnknownIDs {
		maps.DeleteFunc(r.unknown, func(_ int, until time.Time) bool { return !now.Before(until) })
	}
	if len(r.unknown) >= maxUnknownIDs {
		clear(r.unknown)
	}
	r.unknown[id] = now.Add(r.unknownFor)
}

// warm reads the cache directory once, before the first answer.
func (r *Registry) warm() error {
	if r.disk == nil {
		return nil
	}
	return r.disk.load(func(e cacheEntry) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.keep(e)
	})
}

// reasonOf sorts what went wrong into the errors above. Only the registry's own
// code 40403 means that a schema does not exist: a bare 404 comes from a wrong
// address or a proxy, and records must not be given up for it.
func reasonOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: %w", ErrRegistryUnavailable, err)
	}
	reason := answer.Error()
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	switch {
	case answer.ErrorCode == sr.ErrSchemaNotFound.Code:
		return fmt.Errorf("%w: %s", ErrUnknownSchema, reason)
	case answer.StatusCode == http.StatusConflict:
		return fmt.Errorf("%w: %s", ErrIncompatibleSchema, reason)
	case answer.StatusCode == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s", ErrInvalidSchema, reason)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: it refuses our credentials (HTTP status %d): check username and password, or token", ErrRegistryUnavailable, answer.StatusCode)
	}
	return fmt.Errorf("%w: HTTP status %d: %s", ErrRegistryUnavailable, answer.StatusCode, reason)
}
