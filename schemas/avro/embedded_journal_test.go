package avro

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"
)

func TestReopenedRegistryKnowsEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := openEmbedded(t, dir)
	mustAdd(t, e, "a", record(fieldA).Schema)
	mustAdd(t, e, "a", record(fieldA, fieldBDefault).Schema)
	mustAdd(t, e, "b", record(fieldA).Schema)
	for _, c := range []change{
		{Op: opLevel, Level: LevelFull},
		{Op: opLevel, Subject: "b", Level: LevelNone},
		{Op: opDelete, Subject: "a", Versions: []int{2}},
		{Op: opPurge, Subject: "a", Versions: []int{2}},
	} {
		if err := e.commit(c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenEmbedded(EmbeddedConfig{Dir: dir}); err == nil {
		t.Error("two registries opened one folder")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Register(t.Context(), "late", `"int"`); !errors.Is(err, os.ErrClosed) {
		t.Errorf("registering after Close: %v", err)
	}
	again := openEmbedded(t, dir)
	if diff := cmp.Diff(summary(e), summary(again)); diff != "" {
		t.Errorf("before and after (-before +after):\n%s", diff)
	}
	if id := mustAdd(t, again, "c", `"int"`); id != 3 {
		t.Errorf("the next id is %d, want 3", id)
	}
}

func mustAdd(t *testing.T, e *EmbeddedRegistry, subject, schema string) int {
	t.Helper()
	id, err := e.Register(t.Context(), subject, schema)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// summary is the state without what was parsed from it.
func summary(e *EmbeddedRegistry) map[string]string {
	s := map[string]string{
		"subjects": fmt.Sprint(e.state.subjects), "levels": fmt.Sprint(e.state.levels),
		"ids": fmt.Sprint(e.state.ids), "last id": strconv.Itoa(e.state.lastID),
	}
	for id, schema := range e.state.schemas {
		s[strconv.Itoa(id)] = schema.text
	}
	return s
}

func TestHalfWrittenLastLineIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, journalName)
	e := openEmbedded(t, dir)
	mustAdd(t, e, "a", record(fieldA).Schema)
	mustAdd(t, e, "a", record(fieldA, fieldBDefault).Schema)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(whole), '\n') + 1
	for cut := first; cut < len(whole); cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		again := openEmbedded(t, dir)
		if again.state.lastID != 1 {
			t.Fatalf("cut at %d: last id %d", cut, again.state.lastID)
		}
		if id := mustAdd(t, again, "a", record(fieldA, fieldBDefault).Schema); id != 2 {
			t.Fatalf("cut at %d: id %d", cut, id)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != string(whole) {
			t.Fatalf("cut at %d: the file holds %q, %v", cut, got, err)
		}
	}
}

func TestDamagedJournalIsNotGuessedAt(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"no JSON":               "{\"op\":\"register\n",
		"a line twice":          strings.Repeat(`{"op":"register","subject":"a","version":1,"id":1,"schema":"\"int\""}`+"\n", 2),
		"an id of nothing":      `{"op":"register","subject":"a","version":1,"id":1}` + "\n",
		"an unknown change":     `{"op":"rename","subject":"a"}` + "\n",
		"an unknown attribute":  `{"op":"level","level":"NONE","until":1}` + "\n",
		"two changes in a line": `{"op":"level","level":"NONE"}{"op":"level"}` + "\n",
		"no such version":       `{"op":"delete","subject":"a","versions":[1]}` + "\n",
		"the last of the ids":   `{"op":"register","subject":"a","version":1,"id":9223372036854775807,"schema":"\"int\""}` + "\n",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, journalName)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenEmbedded(EmbeddedConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: got %v", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%s: the file was changed to %q, %v", name, got, err)
		}
	}
}

func TestManyRegisterAtOnceAndAgree(t *testing.T) {
	t.Parallel()
	e, client := embeddedClient(t)
	var wg sync.WaitGroup
	ids := make([][]int, 8)
	for worker := range ids {
		wg.Go(func() {
			for n := range 10 {
				schema := sr.Schema{Schema: fmt.Sprintf(`{"type":"fixed","name":"F%d","size":%d}`, n, n+1)}
				id, err := client.RegisterSchema(t.Context(), fmt.Sprintf("s%d", n), schema, -1, -1)
				if err != nil {
					t.Errorf("registering: %v", err)
				}
				ids[worker] = append(ids[worker], id)
				if _, err := client.Subjects(t.Context()); err != nil {
					t.Errorf("listing: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for _, got := range ids[1:] {
		if !slices.Equal(got, ids[0]) {
			t.Errorf("one schema, two ids: %v and %v", got, ids[0])
		}
	}
	if e.state.lastID != 10 {
		t.Errorf("%d ids were given for 10 schemas", e.state.lastID)
	}
}

// TestKilledRegistryKeepsWhatItAcknowledged runs a registry in a process of its
// own, kills it while it registers, and looks for every id that it told.
func TestKilledRegistryKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	told := make(map[string]string) // schema by id
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelperRegistersForEver$")
		cmd.Env = append(os.Environ(), "SIRA_REGISTRY_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if id, schema, ok := strings.Cut(lines.Text(), " "); ok && strings.HasPrefix(schema, "{") {
				told[id] = schema
			}
			if n == 20 {
				_ = cmd.Process.Kill() // what it still says before it dies counts too
			}
		}
		_ = cmd.Wait()
		e := openEmbedded(t, dir)
		for id, schema := range told {
			var n int
			if _, err := fmt.Sscan(id, &n); err != nil {
				t.Fatal(err)
			}
			if got, err := e.SchemaByID(t.Context(), n); err != nil || got != schema {
				t.Errorf("id %s: got %q, %v, was told %q", id, got, err, schema)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) < 60 {
		t.Errorf("only %d schemas were registered", len(told))
	}
}

// TestHelperRegistersForEver is the process that TestKilledRegistry… kills.
func TestHelperRegistersForEver(t *testing.T) {
	dir := os.Getenv("SIRA_REGISTRY_DIR")
	if dir == "" {
		t.Skip("only runs as the child process of TestKilledRegistryKeepsWhatItAcknowledged")
	}
	e, err := OpenEmbedded(EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for n := e.state.lastID; ; n++ {
		schema := fmt.Sprintf(`{"type":"fixed","name":"F%d","size":%d}`, n, n+1)
		id, err := e.Register(t.Context(), fmt.Sprintf("s%d", n), schema)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(id, schema)
	}
}
