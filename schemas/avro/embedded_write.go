package avro

import (
	"net/http"
	"slices"
)

func (e *EmbeddedRegistry) postVersion(r *http.Request) (any, error) {
	body, _, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	if body.ID > 0 || body.Version > 0 {
		return nil, errNotPermitted("The embedded registry does not do import mode: leave out id and version")
	}
	id, err := e.add(r.PathValue("subject"), body.Schema)
	if err != nil {
		return nil, err
	}
	return map[string]int{"id": id}, nil
}

// lookUp tells whether a schema is registered under a subject.
func (e *EmbeddedRegistry) lookUp(r *http.Request) (any, error) {
	_, schema, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	subject := r.PathValue("subject")
	versions := e.state.versions(subject, flag(r, "deleted"))
	if len(versions) == 0 {
		return nil, errSubjectNotFound(subject)
	}
	for _, v := range slices.Backward(versions) {
		if e.state.schemas[v.id].identity == schema.identity {
			return e.show(subject, v), nil
		}
	}
	return nil, errSchemaNotFound()
}

// checkAll tells whether a schema could be registered under a subject now.
func (e *EmbeddedRegistry) checkAll(r *http.Request) (any, error) {
	_, schema, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return verdict(e.state.conflicts(r.PathValue("subject"), schema.parsed)), nil
}

// checkVersion holds a schema against one version of a subject.
func (e *EmbeddedRegistry) checkVersion(r *http.Request) (any, error) {
	_, schema, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	subject := r.PathValue("subject")
	v, err := e.find(subject, r.PathValue("version"), false)
	if err != nil {
		return nil, err
	}
	return verdict(e.state.conflictsWith(e.state.level(subject), []subjectVersion{v}, schema.parsed)), nil
}

func verdict(reasons []string) any {
	return struct {
		Compatible bool     `json:"is_compatible"`
		Messages   []string `json:"messages,omitempty"`
	}{len(reasons) == 0, reasons}
}

// deleteSubject hides a subject's versions, or with permanent=true drops those
// that are hidden.
func (e *EmbeddedRegistry) deleteSubject(r *http.Request) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	subject := r.PathValue("subject")
	all, live := e.state.versions(subject, true), e.state.versions(subject, false)
	c := change{Op: opDelete, Subject: subject}
	switch {
	case len(all) == 0:
		return nil, errSubjectNotFound(subject)
	case flag(r, "permanent") && len(live) > 0:
		return nil, errSubjectNotSoftDeleted(subject)
	case flag(r, "permanent"):
		c.Op, live = opPurge, all
	case len(live) == 0:
		return nil, errSubjectSoftDeleted(subject)
	}
	for _, v := range live {
		c.Versions = append(c.Versions, v.number)
	}
	return c.Versions, e.commit(c)
}

// deleteVersion hides one version, or with permanent=true drops a hidden one.
func (e *EmbeddedRegistry) deleteVersion(r *http.Request) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	subject, version := r.PathValue("subject"), r.PathValue("version")
	latest := version == "latest" || version == "-1"
	v, err := e.find(subject, version, !latest || flag(r, "permanent"))
	if err != nil {
		return nil, err
	}
	c := change{Op: opDelete, Subject: subject, Versions: []int{v.number}}
	switch {
	case flag(r, "permanent") && !v.deleted:
		return nil, errVersionNotSoftDeleted(subject, v.number)
	case flag(r, "permanent"):
		c.Op = opPurge
	case v.deleted:
		return nil, errVersionSoftDeleted(subject, v.number)
	}
	return v.number, e.commit(c)
}

// levelAnswer is what reading a compatibility level answers.
type levelAnswer struct {
	Level Level `json:"compatibilityLevel"`
}

// getLevel answers for one subject, or for all where the path names none.
func (e *EmbeddedRegistry) getLevel(r *http.Request) (any, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	subject := r.PathValue("subject")
	if _, own := e.state.levels[subject]; !own && subject != "" && !flag(r, "defaultToGlobal") {
		return nil, errNoSubjectLevel(subject)
	}
	return levelAnswer{e.state.level(subject)}, nil
}

func (e *EmbeddedRegistry) putLevel(r *http.Request) (any, error) {
	var body struct {
		Level Level `json:"compatibility"`
	}
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	if !body.Level.valid() {
		return nil, errInvalidLevel(body.Level)
	}
	subject := r.PathValue("subject")
	if subject != "" {
		if err := checkSubject(subject); err != nil {
			return nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return body, e.commit(change{Op: opLevel, Subject: subject, Level: body.Level})
}

// deleteLevel answers with the level that counted until now.
func (e *EmbeddedRegistry) deleteLevel(r *http.Request) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	subject := r.PathValue("subject")
	level, own := e.state.levels[subject]
	if !own && subject != "" {
		return nil, errNoSubjectLevel(subject)
	}
	if !own {
		return levelAnswer{e.state.level("")}, nil
	}
	return levelAnswer{level}, e.commit(change{Op: opLevel, Subject: subject})
}

func (e *EmbeddedRegistry) getMode(*http.Request) (any, error) {
	return map[string]string{"mode": "READWRITE"}, nil
}

func (e *EmbeddedRegistry) getSubjectMode(r *http.Request) (any, error) {
	if !flag(r, "defaultToGlobal") {
		return nil, errNoSubjectMode(r.PathValue("subject"))
	}
	return e.getMode(r)
}

func (e *EmbeddedRegistry) refuseMode(*http.Request) (any, error) {
	return nil, errNotPermitted("The embedded registry is always in mode READWRITE")
}
