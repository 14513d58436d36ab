package avro

import (
	"cmp"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// versionAnswer is a version of a subject as Confluent's interface shows it.
type versionAnswer struct {
	Subject string `json:"subject"`
	ID      int    `json:"id"`
	Version int    `json:"version"`
	Type    string `json:"schemaType"`
	Schema  string `json:"schema"`
}

// usageAnswer says where a schema is used.
type usageAnswer struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

func flag(r *http.Request, name string) bool {
	return strings.EqualFold(r.URL.Query().Get(name), "true")
}

func (e *EmbeddedRegistry) getRoot(*http.Request) (any, error) { return struct{}{}, nil }

func (e *EmbeddedRegistry) getTypes(*http.Request) (any, error) { return []string{"AVRO"}, nil }

// getReferences is asked before a schema is deleted. Nothing refers to any.
func (e *EmbeddedRegistry) getReferences(r *http.Request) (any, error) {
	if _, err := e.getVersion(r); err != nil {
		return nil, err
	}
	return []int{}, nil
}

func (e *EmbeddedRegistry) getSubjects(r *http.Request) (any, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	prefix := r.URL.Query().Get("subjectPrefix")
	names := []string{}
	for name := range e.state.subjects {
		live := len(e.state.versions(name, false)) > 0
		wanted := live || flag(r, "deleted")
		if flag(r, "deletedOnly") {
			wanted = !live
		}
		if wanted && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (e *EmbeddedRegistry) getVersions(r *http.Request) (any, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	subject := r.PathValue("subject")
	versions := e.state.versions(subject, flag(r, "deleted") || flag(r, "deletedOnly"))
	numbers := []int{}
	for _, v := range versions {
		if v.deleted || !flag(r, "deletedOnly") {
			numbers = append(numbers, v.number)
		}
	}
	if len(numbers) == 0 {
		return nil, errSubjectNotFound(subject)
	}
	return numbers, nil
}

func (e *EmbeddedRegistry) getVersion(r *http.Request) (any, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	subject := r.PathValue("subject")
	v, err := e.find(subject, r.PathValue("version"), flag(r, "deleted"))
	if err != nil {
		return nil, err
	}
	return e.show(subject, v), nil
}

func (e *EmbeddedRegistry) getVersionText(r *http.Request) (any, error) {
	v, err := e.getVersion(r)
	if shown, ok := v.(versionAnswer); ok {
		return schemaText(shown.Schema), nil
	}
	return nil, err
}

func (e *EmbeddedRegistry) getSchemas(r *http.Request) (any, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	prefix := r.URL.Query().Get("subjectPrefix")
	all := []versionAnswer{}
	for _, subject := range slices.Sorted(maps.Keys(e.state.subjects)) {
		if !strings.HasPrefix(subject, prefix) {
			continue
		}
		versions := e.state.versions(subject, flag(r, "deleted"))
		if flag(r, "latestOnly") && len(versions) > 1 {
			versions = versions[len(versions)-1:]
		}
		for _, v := range versions {
			all = append(all, e.show(subject, v))
		}
	}
	return all, nil
}

func (e *EmbeddedRegistry) getByID(r *http.Request) (any, error) {
	_, text, err := e.byID(r)
	if err != nil {
		return nil, err
	}
	return struct {
		Type   string `json:"schemaType"`
		Schema string `json:"schema"`
	}{"AVRO", text}, nil
}

func (e *EmbeddedRegistry) getTextByID(r *http.Request) (any, error) {
	_, text, err := e.byID(r)
	return schemaText(text), err
}

func (e *EmbeddedRegistry) getSubjectsByID(r *http.Request) (any, error) {
	usages, err := e.usages(r)
	subjects := []string{}
	for _, u := range usages {
		subjects = append(subjects, u.Subject)
	}
	return slices.Compact(subjects), err
}

func (e *EmbeddedRegistry) getVersionsByID(r *http.Request) (any, error) { return e.usages(r) }

// usages are ordered by subject and version.
func (e *EmbeddedRegistry) usages(r *http.Request) ([]usageAnswer, error) {
	id, _, err := e.byID(r)
	if err != nil {
		return nil, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	usages := []usageAnswer{}
	for subject := range e.state.subjects {
		for _, v := range e.state.versions(subject, flag(r, "deleted")) {
			if v.id == id {
				usages = append(usages, usageAnswer{subject, v.number})
			}
		}
	}
	slices.SortFunc(usages, func(a, b usageAnswer) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Version, b.Version))
	})
	return usages, nil
}

func (e *EmbeddedRegistry) byID(r *http.Request) (int, string, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		return 0, "", errSchemaNotFound()
	}
	text, err := e.SchemaByID(r.Context(), id)
	if err != nil {
		return 0, "", errSchemaNotFound()
	}
	return id, text, nil
}

// find reads a version out of a path: a number, "latest" or its other spelling
// -1. It needs e.mu.
func (e *EmbeddedRegistry) find(subject, version string, withDeleted bool) (subjectVersion, error) {
	number, err := strconv.Atoi(version)
	latest := version == "latest" || version == "-1"
	if !latest && (err != nil || number < 1 || number > math.MaxInt32) {
		return subjectVersion{}, errInvalidVersion(version)
	}
	versions := e.state.versions(subject, withDeleted)
	if len(versions) == 0 {
		return subjectVersion{}, errSubjectNotFound(subject)
	}
	if latest {
		return versions[len(versions)-1], nil
	}
	for _, v := range versions {
		if v.number == number {
			return v, nil
		}
	}
	return subjectVersion{}, errVersionNotFound(version)
}

// show needs e.mu.
func (e *EmbeddedRegistry) show(subject string, v subjectVersion) versionAnswer {
	return versionAnswer{Subject: subject, ID: v.id, Version: v.number, Type: "AVRO", Schema: e.state.schemas[v.id].text}
}
