package avro

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

const (
	contentType = "application/vnd.schemaregistry.v1+json"
	// maxBody bounds a request body: a schema of the largest size, escaped.
	maxBody = 2*maxSchema + 64<<10
)

// answerFunc answers one request with a value to encode as JSON.
type answerFunc func(*http.Request) (any, error)

// schemaText is an answer that is JSON already.
type schemaText string

// Handler serves the registry over HTTP, at the paths and with the error codes
// of Confluent's interface.
func (e *EmbeddedRegistry) Handler() http.Handler {
	routes := map[string]answerFunc{
		"GET /{$}":                                                  e.getRoot,
		"GET /subjects":                                             e.getSubjects,
		"POST /subjects/{subject}":                                  e.lookUp,
		"DELETE /subjects/{subject}":                                e.deleteSubject,
		"GET /subjects/{subject}/versions":                          e.getVersions,
		"POST /subjects/{subject}/versions":                         e.postVersion,
		"GET /subjects/{subject}/versions/{version}":                e.getVersion,
		"DELETE /subjects/{subject}/versions/{version}":             e.deleteVersion,
		"GET /subjects/{subject}/versions/{version}/schema":         e.getVersionText,
		"GET /subjects/{subject}/versions/{version}/referencedby":   e.getReferences,
		"GET /schemas":                                              e.getSchemas,
		"GET /schemas/types":                                        e.getTypes,
		"GET /schemas/ids/{id}":                                     e.getByID,
		"GET /schemas/ids/{id}/schema":                              e.getTextByID,
		"GET /schemas/ids/{id}/subjects":                            e.getSubjectsByID,
		"GET /schemas/ids/{id}/versions":                            e.getVersionsByID,
		"POST /compatibility/subjects/{subject}/versions":           e.checkAll,
		"POST /compatibility/subjects/{subject}/versions/{version}": e.checkVersion,
		"GET /config":                                               e.getLevel,
		"PUT /config":                                               e.putLevel,
		"DELETE /config":                                            e.deleteLevel,
		"GET /config/{subject}":                                     e.getLevel,
		"PUT /config/{subject}":                                     e.putLevel,
		"DELETE /config/{subject}":                                  e.deleteLevel,
		"GET /mode":                                                 e.getMode,
		"GET /mode/{subject}":                                       e.getSubjectMode,
		"PUT /mode":                                                 e.refuseMode,
		"PUT /mode/{subject}":                                       e.refuseMode,
		"/":                                                         notFound,
	}
	mux := http.NewServeMux()
	for pattern, answer := range routes {
		mux.Handle(pattern, answer)
	}
	return mux
}

// ServeHTTP refuses bodies that do not say they are JSON. A web page can make a
// browser post plain text to a loopback address, but not this.
func (answer answerFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if !saysJSON(r.Header.Get("Content-Type")) {
			writeAnswer(w, nil, &apiError{http.StatusUnsupportedMediaType, http.StatusUnsupportedMediaType, "Content-Type must be " + contentType, nil})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	v, err := answer(r)
	writeAnswer(w, v, err)
}

func saysJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || media == "application/octet-stream" ||
		strings.HasPrefix(media, "application/vnd.schemaregistry") && strings.HasSuffix(media, "+json"))
}

func writeAnswer(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		refusal, ok := errors.AsType[*apiError](err)
		if !ok {
			refusal = &apiError{http.StatusInternalServerError, 50001, err.Error(), err}
		}
		status, v = refusal.Status, refusal
	}
	var body []byte
	if text, ok := v.(schemaText); ok {
		body = []byte(text)
	} else if body, err = json.Marshal(v); err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error_code":500,"message":"encoding the answer"}`)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}

func notFound(r *http.Request) (any, error) {
	return nil, &apiError{http.StatusNotFound, http.StatusNotFound, fmt.Sprintf("HTTP 404 Not Found: the embedded registry has no %s %s", r.Method, r.URL.Path), nil}
}

// readBody decodes a bounded JSON body.
func readBody(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &apiError{
			http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), err,
		}
	}
	if err != nil {
		return &apiError{http.StatusBadRequest, http.StatusBadRequest, "reading the body: " + err.Error(), err}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return &apiError{http.StatusBadRequest, http.StatusBadRequest, "reading the body as JSON: " + err.Error(), err}
	}
	return nil
}

// schemaBody is a schema as clients send it.
type schemaBody struct {
	Schema     string            `json:"schema"`
	Type       string            `json:"schemaType"`
	References []json.RawMessage `json:"references"`
	Metadata   json.RawMessage   `json:"metadata"`
	RuleSet    json.RawMessage   `json:"ruleSet"`
	ID         int               `json:"id"`
	Version    int               `json:"version"`
}

// readSchema reads a schema from the body and refuses what the registry would
// otherwise quietly leave out.
func readSchema(r *http.Request) (schemaBody, storedSchema, error) {
	var body schemaBody
	if err := readBody(r, &body); err != nil {
		return body, storedSchema{}, err
	}
	switch {
	case body.Type != "" && !strings.EqualFold(body.Type, "AVRO"):
		return body, storedSchema{}, errInvalidSchema(fmt.Errorf("the embedded registry keeps AVRO schemas only, not %q", body.Type))
	case len(body.References) > 0:
		return body, storedSchema{}, errInvalidSchema(errors.New("the embedded registry does not do references: write the schemas out"))
	case isSet(body.Metadata) || isSet(body.RuleSet):
		return body, storedSchema{}, errInvalidSchema(errors.New("the embedded registry does not do data contracts: leave out metadata and ruleSet"))
	}
	schema, err := parseSchema(body.Schema)
	return body, schema, err
}

func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
