package avro

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// The changes that the journal keeps.
const (
	opRegister = "register" // Schema is set where ID is new
	opDelete   = "delete"   // Versions are hidden
	opPurge    = "purge"    // Versions are gone
	opLevel    = "level"    // of Subject, or of all where it is empty; no Level takes it back
)

// change is one line of the journal.
type change struct {
	Op       string `json:"op"`
	Subject  string `json:"subject,omitempty"`
	Version  int    `json:"version,omitempty"`
	ID       int    `json:"id,omitempty"`
	Schema   string `json:"schema,omitempty"`
	Versions []int  `json:"versions,omitempty"`
	Level    Level  `json:"level,omitempty"`
}

// subjectVersion is one version of a subject.
type subjectVersion struct {
	number, id int
	deleted    bool
}

// registryState is what the journal's changes amount to.
type registryState struct {
	schemas  map[int]storedSchema
	ids      map[string]int // by identity
	subjects map[string][]subjectVersion
	levels   map[string]Level
	lastID   int // the highest id ever given
}

func newRegistryState() registryState {
	return registryState{
		schemas:  make(map[int]storedSchema),
		ids:      make(map[string]int),
		subjects: make(map[string][]subjectVersion),
		levels:   make(map[string]Level),
	}
}

func (s *registryState) replay(c change) error {
	next, err := s.prepare(c)
	if err == nil {
		next()
	}
	return err
}

// prepare checks a change against the state and returns what carries it out,
// which can't fail. Nothing may change in between.
func (s *registryState) prepare(c change) (func(), error) {
	switch c.Op {
	case opRegister:
		return s.prepareRegister(c)
	case opDelete, opPurge:
		return s.prepareRemoval(c)
	case opLevel:
		if c.Level != "" && !c.Level.valid() {
			return nil, fmt.Errorf("unknown compatibility level %q", c.Level)
		}
		return func() {
			s.levels[c.Subject] = c.Level
			if c.Level == "" {
				delete(s.levels, c.Subject)
			}
		}, nil
	}
	return nil, fmt.Errorf("unknown change %q", c.Op)
}

func (s *registryState) prepareRegister(c change) (func(), error) {
	if err := checkSubject(c.Subject); err != nil {
		return nil, err
	}
	if c.Version < s.nextVersion(c.Subject) {
		return nil, fmt.Errorf("version %d of %s is not above the last one", c.Version, c.Subject)
	}
	if c.Version > math.MaxInt32 || c.ID > math.MaxInt32 {
		return nil, errors.New("no version or id is left")
	}
	register := func() {
		s.subjects[c.Subject] = append(s.subjects[c.Subject], subjectVersion{number: c.Version, id: c.ID})
	}
	if c.Schema == "" {
		if _, ok := s.schemas[c.ID]; !ok {
			return nil, fmt.Errorf("no schema has the id %d", c.ID)
		}
		return register, nil
	}
	if c.ID <= s.lastID {
		return nil, fmt.Errorf("id %d was given before", c.ID)
	}
	schema, err := parseSchema(c.Schema)
	if err != nil {
		return nil, err
	}
	return func() {
		s.schemas[c.ID] = schema
		s.ids[schema.identity] = c.ID
		s.lastID = c.ID
		register()
	}, nil
}

func (s *registryState) prepareRemoval(c change) (func(), error) {
	versions := s.subjects[c.Subject]
	for _, number := range c.Versions {
		if !slices.ContainsFunc(versions, func(v subjectVersion) bool { return v.number == number }) {
			return nil, fmt.Errorf("%s has no version %d", c.Subject, number)
		}
	}
	if c.Op == opPurge {
		return func() { s.purge(c.Subject, c.Versions) }, nil
	}
	return func() {
		for i := range versions {
			if slices.Contains(c.Versions, versions[i].number) {
				versions[i].deleted = true
			}
		}
	}, nil
}

// purge also drops the schemas that no version uses any more. Their ids are
// never given again.
func (s *registryState) purge(subject string, numbers []int) {
	left := slices.DeleteFunc(s.subjects[subject], func(v subjectVersion) bool { return slices.Contains(numbers, v.number) })
	s.subjects[subject] = left
	if len(left) == 0 {
		delete(s.subjects, subject)
	}
	used := make(map[int]bool)
	for _, versions := range s.subjects {
		for _, v := range versions {
			used[v.id] = true
		}
	}
	for id, schema := range s.schemas {
		if !used[id] {
			delete(s.schemas, id)
			delete(s.ids, schema.identity)
		}
	}
}

// versions returns a subject's versions, oldest first.
func (s *registryState) versions(subject string, withDeleted bool) []subjectVersion {
	all := slices.Clone(s.subjects[subject])
	if withDeleted {
		return all
	}
	return slices.DeleteFunc(all, func(v subjectVersion) bool { return v.deleted })
}

func (s *registryState) liveByID(subject string, id int) (subjectVersion, bool) {
	for _, v := range s.subjects[subject] {
		if v.id == id && !v.deleted {
			return v, true
		}
	}
	return subjectVersion{}, false
}

func (s *registryState) nextVersion(subject string) int {
	versions := s.subjects[subject]
	if len(versions) == 0 {
		return 1
	}
	return versions[len(versions)-1].number + 1
}

// level is the one that counts for a subject.
func (s *registryState) level(subject string) Level {
	if l, ok := s.levels[subject]; ok {
		return l
	}
	if l, ok := s.levels[""]; ok {
		return l
	}
	return LevelBackward
}

// identityOf tells schemas apart by all they say: only white space and the
// order of attributes do not count. Avro's parsing canonical form is no
// identity, since it drops defaults and logical types: a decimal's scale is
// lost in it.
func identityOf(text string) (string, error) {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", fmt.Errorf("reading it as JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("something follows the schema's JSON")
	}
	identity, err := json.Marshal(v)
	return string(identity), err
}

func checkSubject(subject string) error {
	if subject == "" || len(subject) > maxSubject {
		return errInvalidSubject(fmt.Sprintf("it has %d bytes, 1 to %d are allowed", len(subject), maxSubject))
	}
	for _, c := range subject {
		if c < ' ' || c == 0x7f {
			return errInvalidSubject("it holds a control character")
		}
	}
	return nil
}
