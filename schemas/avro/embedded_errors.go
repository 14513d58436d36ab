package avro

import (
	"fmt"
	"net/http"
	"strings"
)

// apiError is a refusal of the embedded registry: the HTTP status and the body
// that Confluent's interface prescribes for it.
//
// Source: Confluent, "Schema Registry API reference", errors of each resource.
type apiError struct {
	Status  int    `json:"-"`
	Code    int    `json:"error_code"`
	Message string `json:"message"`
	cause   error
}

func (e *apiError) Error() string { return e.Message }

func (e *apiError) Unwrap() error { return e.cause }

func errSubjectNotFound(subject string) error {
	return &apiError{http.StatusNotFound, 40401, fmt.Sprintf("Subject '%s' not found.", subject), nil}
}

func errVersionNotFound(version string) error {
	return &apiError{http.StatusNotFound, 40402, fmt.Sprintf("Version %s not found.", version), nil}
}

func errSchemaNotFound() error {
	return &apiError{http.StatusNotFound, 40403, "Schema not found", ErrUnknownSchema}
}

func errSubjectSoftDeleted(subject string) error {
	return &apiError{http.StatusNotFound, 40404, fmt.Sprintf("Subject '%s' was soft deleted. Set permanent=true to delete permanently", subject), nil}
}

func errSubjectNotSoftDeleted(subject string) error {
	return &apiError{http.StatusNotFound, 40405, fmt.Sprintf("Subject '%s' was not deleted first before being permanently deleted", subject), nil}
}

func errVersionSoftDeleted(subject string, version int) error {
	return &apiError{http.StatusNotFound, 40406, fmt.Sprintf("Subject '%s' Version %d was soft deleted. Set permanent=true to delete permanently", subject, version), nil}
}

func errVersionNotSoftDeleted(subject string, version int) error {
	return &apiError{http.StatusNotFound, 40407, fmt.Sprintf("Subject '%s' Version %d was not deleted first before being permanently deleted", subject, version), nil}
}

func errNoSubjectLevel(subject string) error {
	return &apiError{http.StatusNotFound, 40408, fmt.Sprintf("Subject '%s' does not have subject-level compatibility configured", subject), nil}
}

func errNoSubjectMode(subject string) error {
	return &apiError{http.StatusNotFound, 40409, fmt.Sprintf("Subject '%s' does not have subject-level mode configured", subject), nil}
}

func errIncompatible(subject string, reasons []string) error {
	return &apiError{
		http.StatusConflict, http.StatusConflict,
		fmt.Sprintf("Schema being registered is incompatible with an earlier schema for subject '%s': %s", subject, strings.Join(reasons, "; ")),
		ErrIncompatibleSchema,
	}
}

func errInvalidSchema(err error) error {
	return &apiError{http.StatusUnprocessableEntity, 42201, fmt.Sprintf("Invalid schema: %v", err), ErrInvalidSchema}
}

func errInvalidVersion(version string) error {
	return &apiError{http.StatusUnprocessableEntity, 42202, fmt.Sprintf("The specified version '%s' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\"", version), nil}
}

func errInvalidLevel(level Level) error {
	return &apiError{http.StatusUnprocessableEntity, 42203, fmt.Sprintf("Invalid compatibility level '%s': write one of %v", level, levels()), nil}
}

func errNotPermitted(what string) error {
	return &apiError{http.StatusUnprocessableEntity, 42205, what, nil}
}

func errInvalidSubject(why string) error {
	return &apiError{http.StatusUnprocessableEntity, 42208, "Invalid subject name: " + why, nil}
}

func errSchemaTooLarge(size int) error {
	return &apiError{http.StatusUnprocessableEntity, 42209, fmt.Sprintf("Schema of %d bytes is too large, %d are allowed", size, maxSchema), ErrInvalidSchema}
}

func errStore(err error) error {
	return &apiError{http.StatusInternalServerError, 50001, fmt.Sprintf("Error in the backend data store: %v", err), err}
}
