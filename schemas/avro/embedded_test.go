package avro

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"
)

func openEmbedded(t *testing.T, dir string) *EmbeddedRegistry {
	t.Helper()
	e, err := OpenEmbedded(EmbeddedConfig{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// embeddedClient returns a registry and franz-go's client for it.
func embeddedClient(t *testing.T) (*EmbeddedRegistry, *sr.Client) {
	t.Helper()
	e := openEmbedded(t, t.TempDir())
	srv := httptest.NewServer(e.Handler())
	t.Cleanup(srv.Close)
	client, err := sr.NewClient(sr.URLs(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	return e, client
}

func record(fields ...string) sr.Schema {
	return sr.Schema{Schema: `{"type":"record","name":"R","fields":[` + strings.Join(fields, ",") + `]}`}
}

const (
	fieldA        = `{"name":"a","type":"int"}`
	fieldB        = `{"name":"b","type":"int"}`
	fieldBDefault = `{"name":"b","type":"int","default":0}`
	fieldADefault = `{"name":"a","type":"int","default":0}`
)

func create(t *testing.T, client *sr.Client, subject string, s sr.Schema) sr.SubjectSchema {
	t.Helper()
	got, err := client.CreateSchema(t.Context(), subject, s)
	if err != nil {
		t.Fatalf("creating %s: %v", s.Schema, err)
	}
	return got
}

func wantCode(t *testing.T, what string, err error, status, code int) {
	t.Helper()
	answer, ok := errors.AsType[*sr.ResponseError](err)
	if !ok || answer.StatusCode != status || answer.ErrorCode != code {
		t.Errorf("%s: got %v, want status %d and code %d", what, err, status, code)
	}
}

func TestClientReadsWhatItRegistered(t *testing.T) {
	t.Parallel()
	_, client := embeddedClient(t)
	first := create(t, client, "topic/a-value", record(fieldA))
	second := create(t, client, "topic/a-value", record(fieldA, fieldBDefault))
	want := sr.SubjectSchema{Subject: "topic/a-value", Version: 2, ID: second.ID, Schema: record(fieldA, fieldBDefault)}
	if diff := cmp.Diff(want, second); diff != "" || first.ID == second.ID {
		t.Fatalf("created (-want +got):\n%s", diff)
	}
	latest, err := client.SchemaByVersion(t.Context(), "topic/a-value", -1)
	if err != nil || !cmp.Equal(latest, second) {
		t.Errorf("latest: %+v, %v", latest, err)
	}
	byID, err := client.SchemaByID(t.Context(), first.ID)
	if err != nil || !cmp.Equal(byID, first.Schema) {
		t.Errorf("by id: %+v, %v", byID, err)
	}
	text, err := client.SchemaTextByID(t.Context(), first.ID)
	if err != nil || text != first.Schema.Schema {
		t.Errorf("text by id: %q, %v", text, err)
	}
	text, err = client.SchemaTextByVersion(t.Context(), "topic/a-value", 1)
	if err != nil || text != first.Schema.Schema {
		t.Errorf("text by version: %q, %v", text, err)
	}
	found, err := client.LookupSchema(t.Context(), "topic/a-value", record(fieldA))
	if err != nil || !cmp.Equal(found, first) {
		t.Errorf("looked up: %+v, %v", found, err)
	}
	subjects, err := client.Subjects(t.Context())
	if err != nil || !slices.Equal(subjects, []string{"topic/a-value"}) {
		t.Errorf("subjects: %v, %v", subjects, err)
	}
	all, err := client.AllSchemas(t.Context())
	if err != nil || !cmp.Equal(all, []sr.SubjectSchema{first, second}) {
		t.Errorf("all schemas: %+v, %v", all, err)
	}
	types, err := client.SupportedTypes(t.Context())
	if err != nil || !slices.Equal(types, []sr.SchemaType{sr.TypeAvro}) {
		t.Errorf("types: %v, %v", types, err)
	}
	if mode := client.Mode(t.Context())[0]; mode.Err != nil || mode.Mode != sr.ModeReadWrite {
		t.Errorf("mode: %+v", mode)
	}
	if refs, err := client.SchemaReferences(t.Context(), "topic/a-value", 1); err != nil || len(refs) != 0 {
		t.Errorf("references: %v, %v", refs, err)
	}
}

func TestSameSchemaHasOneIDUnderEverySubject(t *testing.T) {
	t.Parallel()
	_, client := embeddedClient(t)
	a := create(t, client, "a", record(fieldA))
	spaced := sr.Schema{Schema: `{ "name":"R", "fields":[{"type":"int", "name":"a"}],` + "\n" + `"type":"record" }`}
	again := create(t, client, "a", spaced)
	b := create(t, client, "b", spaced)
	if again.ID != a.ID || again.Version != 1 || b.ID != a.ID {
		t.Errorf("got %+v, %+v and %+v", a, again, b)
	}
	versions, err := client.SchemaVersionsByID(t.Context(), a.ID)
	want := []sr.SubjectVersion{{Subject: "a", Version: 1}, {Subject: "b", Version: 1}}
	if err != nil || !cmp.Equal(versions, want) {
		t.Errorf("versions by id: %v, %v", versions, err)
	}
	subjects, err := client.SubjectsByID(t.Context(), a.ID)
	if err != nil || !slices.Equal(subjects, []string{"a", "b"}) {
		t.Errorf("subjects by id: %v, %v", subjects, err)
	}
}

// Avro's parsing canonical form is the same for these two, and a reader that
// took one for the other would read wrong numbers.
func TestSchemasThatDifferInScaleOrDefaultAreNotTheSame(t *testing.T) {
	t.Parallel()
	_, client := embeddedClient(t)
	cents := create(t, client, "cents", sr.Schema{Schema: `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`})
	mills := create(t, client, "mills", sr.Schema{Schema: `{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}`})
	if cents.ID == mills.ID {
		t.Error("two scales share one id")
	}
	zero := create(t, client, "zero", record(`{"name":"a","type":"int","default":0}`))
	one := create(t, client, "one", record(`{"name":"a","type":"int","default":1}`))
	if zero.ID == one.ID {
		t.Error("two defaults share one id")
	}
}

func TestLevelDecidesWhichChangeIsLetIn(t *testing.T) {
	t.Parallel()
	var (
		add         = record(fieldA, fieldB)
		addDefault  = record(fieldA, fieldBDefault)
		none        = record()
		levelsNames = []Level{LevelNone, LevelBackward, LevelForward, LevelFull}
	)
	tests := []struct {
		name string
		next sr.Schema
		ok   []Level
	}{
		{"a field without default is added", add, []Level{LevelNone, LevelForward}},
		{"a field with default is added", addDefault, levelsNames},
		{"a field without default is taken away", none, []Level{LevelNone, LevelBackward}},
		{"a type changes", record(`{"name":"a","type":"string"}`), []Level{LevelNone}},
		{"a type widens", record(`{"name":"a","type":"long"}`), []Level{LevelNone, LevelBackward}},
	}
	for _, test := range tests {
		for _, level := range levelsNames {
			t.Run(fmt.Sprintf("%s/%s", test.name, level), func(t *testing.T) {
				t.Parallel()
				_, client := embeddedClient(t)
				create(t, client, "s", record(fieldA))
				setLevel(t, client, level, "s")
				verdict, err := client.CheckCompatibility(t.Context(), "s", -1, test.next)
				if err != nil {
					t.Fatal(err)
				}
				_, err = client.CreateSchema(t.Context(), "s", test.next)
				if ok := slices.Contains(test.ok, level); ok != (err == nil) || ok != verdict.Is {
					t.Errorf("want let in %v; asked %+v, registered %v", ok, verdict, err)
				}
				if err != nil {
					wantCode(t, "registering", err, http.StatusConflict, 409)
				}
			})
		}
	}
}

func setLevel(t *testing.T, client *sr.Client, level Level, subjects ...string) {
	t.Helper()
	var l sr.CompatibilityLevel
	if err := l.UnmarshalText([]byte(level)); err != nil {
		t.Fatal(err)
	}
	for _, r := range client.SetCompatibility(t.Context(), sr.SetCompatibility{Level: l}, subjects...) {
		if r.Err != nil || r.Level != l {
			t.Fatalf("setting level %s: %+v", level, r)
		}
	}
}

func TestTransitiveLevelsLookAtAllVersions(t *testing.T) {
	t.Parallel()
	for _, level := range []Level{LevelBackward, LevelBackwardTransitive} {
		_, client := embeddedClient(t)
		setLevel(t, client, level)
		create(t, client, "s", record(fieldA))
		create(t, client, "s", record(fieldA, fieldBDefault))
		_, err := client.CreateSchema(t.Context(), "s", record(fieldA, fieldB))
		if ok := level == LevelBackward; ok != (err == nil) {
			t.Errorf("%s: %v", level, err)
		}
	}
	_, client := embeddedClient(t)
	setLevel(t, client, LevelForwardTransitive)
	create(t, client, "s", record(fieldA))
	create(t, client, "s", record(fieldADefault))
	if _, err := client.CreateSchema(t.Context(), "s", record()); err == nil {
		t.Error("FORWARD_TRANSITIVE let a field go that version 1 needs")
	}
}

func TestRefusedChangeIsToldWithItsReason(t *testing.T) {
	t.Parallel()
	_, client := embeddedClient(t)
	create(t, client, "s", record(fieldA))
	_, err := client.CreateSchema(t.Context(), "s", record(fieldA, fieldB))
	wantCode(t, "registering", err, http.StatusConflict, 409)
	for _, word := range []string{"'s'", "version 1", `b`, "no default"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the reason does not say %q: %v", word, err)
		}
	}
	verdict, err := client.CheckCompatibility(t.Context(), "s", -2, record(fieldA, fieldB))
	if err != nil || verdict.Is || len(verdict.Messages) != 1 {
		t.Errorf("asked: %+v, %v", verdict, err)
	}
	if versions, err := client.SubjectVersions(t.Context(), "s"); err != nil || len(versions) != 1 {
		t.Errorf("versions after the refusal: %v, %v", versions, err)
	}
}

func TestErrorsCarryConfluentsCodes(t *testing.T) {
	t.Parallel()
	_, client := embeddedClient(t)
	ctx := t.Context()
	create(t, client, "s", record(fieldA))

	_, err := client.SubjectVersions(ctx, "none")
	wantCode(t, "versions of no subject", err, 404, 40401)
	_, err = client.SchemaByVersion(ctx, "none", 1)
	wantCode(t, "version of no subject", err, 404, 40401)
	_, err = client.SchemaByVersion(ctx, "s", 9)
	wantCode(t, "no version", err, 404, 40402)
	_, err = client.SchemaByVersion(ctx, "s", -9)
	wantCode(t, "wrong version", err, 422, 42202)
	_, err = client.SchemaByID(ctx, 9)
	wantCode(t, "no id", err, 404, 40403)
	_, err = client.LookupSchema(ctx, "none", record(fieldA))
	wantCode(t, "looking up under no subject", err, 404, 40401)
	_, err = client.LookupSchema(ctx, "s", record(fieldB))
	wantCode(t, "looking up no schema", err, 404, 40403)
	_, err = client.CreateSchema(ctx, "s", sr.Schema{Schema: `{"type":"recor"}`})
	wantCode(t, "no schema", err, 422, 42201)
	_, err = client.CreateSchema(ctx, "s", sr.Schema{Schema: `"int" "int"`})
	wantCode(t, "two schemas", err, 422, 42201)
	_, err = client.CreateSchema(ctx, "s", sr.Schema{Schema: "message A {}", Type: sr.TypeProtobuf})
	wantCode(t, "protobuf", err, 422, 42201)
	_, err = client.CreateSchema(ctx, "s", sr.Schema{Schema: `"B"`, References: []sr.SchemaReference{{Name: "B", Subject: "b", Version: 1}}})
	wantCode(t, "references", err, 422, 42201)
	_, err = client.CreateSchema(ctx, "s", sr.Schema{Schema: `"int"`, SchemaMetadata: &sr.SchemaMetadata{Sensitive: []string{"a"}}})
	wantCode(t, "metadata", err, 422, 42201)
	_, err = client.CreateSchemaWithIDAndVersion(ctx, "s", record(fieldA), 70, 1)
	wantCode(t, "import", err, 422, 42205)
	_, err = client.CreateSchema(ctx, strings.Repeat("s", 600), record(fieldA))
	wantCode(t, "long subject", err, 422, 42208)
	_, err = client.CreateSchema(ctx, "s", sr.Schema{Schema: `{"type":"int","doc":"` + strings.Repeat("x", maxSchema) + `"}`})
	wantCode(t, "long schema", err, 422, 42209)
	_, err = client.CreateSchema(ctx, "s", sr.Schema{Schema: strings.Repeat("x", maxBody)})
	wantCode(t, "long body", err, 413, 413)
	wantCode(t, "no level", client.Compatibility(ctx, "s")[0].Err, 404, 40408)
	wantCode(t, "no mode", client.Mode(ctx, "s")[0].Err, 404, 40409)
	wantCode(t, "set mode", client.SetMode(ctx, sr.ModeImport)[0].Err, 422, 42205)
	wantCode(t, "wrong level", client.Do(ctx, "PUT", "/config", map[string]string{"compatibility": "SIDEWARD"}, nil), 422, 42203)
	wantCode(t, "no such path", client.Do(ctx, "GET", "/nowhere", nil, nil), 404, 404)
}

// A page in a browser may post text/plain to a loopback address without asking.
func TestBodyThatDoesNotSayItIsJSONIsRefused(t *testing.T) {
	t.Parallel()
	e := openEmbedded(t, t.TempDir())
	for contentType, want := range map[string]int{
		"text/plain": 415, "": 415, "application/x-www-form-urlencoded": 415,
		"application/json": 200, "application/vnd.schemaregistry.v1+json; charset=utf-8": 200,
	} {
		req := httptest.NewRequestWithContext(t.Context(), "POST", "/subjects/s/versions", strings.NewReader(`{"schema":"\"int\""}`))
		req.Header.Set("Content-Type", contentType)
		rec := httptest.NewRecorder()
		e.Handler().ServeHTTP(rec, req)
		if rec.Code != want || rec.Header().Get("Content-Type") != "application/vnd.schemaregistry.v1+json" {
			t.Errorf("%q: status %d, want %d; %v", contentType, rec.Code, want, rec.Header())
		}
	}
}

func TestLevelOfASubjectGoesBackToTheGlobalOne(t *testing.T) {
	t.Parallel()
	_, client := embeddedClient(t)
	if got := client.Compatibility(t.Context())[0]; got.Level != sr.CompatBackward {
		t.Errorf("default: %+v", got)
	}
	setLevel(t, client, LevelFull)
	setLevel(t, client, LevelNone, "s")
	inherited := sr.WithParams(t.Context(), sr.DefaultToGlobal)
	if got := client.Compatibility(inherited, "s")[0]; got.Level != sr.CompatNone {
		t.Errorf("own: %+v", got)
	}
	if got := client.Do(t.Context(), "DELETE", "/config/s", nil, nil); got != nil {
		t.Errorf("taking it back: %v", got)
	}
	if got := client.Compatibility(inherited, "s")[0]; got.Level != sr.CompatFull {
		t.Errorf("after taking it back: %+v", got)
	}
}

func TestDeletedVersionIsHiddenFirstAndGoneLater(t *testing.T) {
	t.Parallel()
	_, client := embeddedClient(t)
	ctx := t.Context()
	one := create(t, client, "s", record(fieldA))
	two := create(t, client, "s", record(fieldA, fieldBDefault))

	wantCode(t, "permanent first", client.DeleteSchema(ctx, "s", 2, sr.HardDelete), 404, 40407)
	if err := client.DeleteSchema(ctx, "s", -1, sr.SoftDelete); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "twice", client.DeleteSchema(ctx, "s", 2, sr.SoftDelete), 404, 40406)
	_, err := client.SchemaByVersion(ctx, "s", 2)
	wantCode(t, "hidden version", err, 404, 40402)
	if got, err := client.SchemaByVersion(sr.WithParams(ctx, sr.ShowDeleted), "s", 2); err != nil || got.ID != two.ID {
		t.Errorf("hidden version asked for: %+v, %v", got, err)
	}
	if _, err := client.SchemaByID(ctx, two.ID); err != nil {
		t.Errorf("records of a hidden version can't be read: %v", err)
	}
	if again := create(t, client, "s", two.Schema); again.Version != 3 || again.ID != two.ID {
		t.Errorf("registered again: %+v", again)
	}

	_, err = client.DeleteSubject(ctx, "s", sr.HardDelete)
	wantCode(t, "permanent first", err, 404, 40405)
	if got, err := client.DeleteSubject(ctx, "s", sr.SoftDelete); err != nil || !slices.Equal(got, []int{1, 3}) {
		t.Errorf("deleting the subject: %v, %v", got, err)
	}
	_, err = client.DeleteSubject(ctx, "s", sr.SoftDelete)
	wantCode(t, "subject twice", err, 404, 40404)
	if got, err := client.DeleteSubject(ctx, "s", sr.HardDelete); err != nil || !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("deleting the subject for good: %v, %v", got, err)
	}
	_, err = client.SchemaByID(ctx, one.ID)
	wantCode(t, "id of a schema that is gone", err, 404, 40403)
	if fresh := create(t, client, "s", record(fieldB)); fresh.Version != 1 || fresh.ID <= two.ID {
		t.Errorf("an id was given twice: %+v", fresh)
	}
}
