package embedded

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The engine was killed after it had noted an insert into a rollup and before the part had its name. The insert came again, was
// taken for a copy, and the rollup lacked 36 of 3,135 requests.
func TestAnInsertThatTheEngineNotedAndDidNotFinishCanComeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table := filepath.Join(dir, "store", "1c7", "1c72dec3-54bc-47d6-acfc-78eb7bf34ac7")
	logs := filepath.Join(table, "deduplication_logs")
	for _, d := range []string{logs, filepath.Join(table, "202611_1_5_1"), filepath.Join(table, "202611_6_6_0"), filepath.Join(table, "tmp_insert_202611_7_7_0")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(logs, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const old = "1\t202611_1_1_0\tmerged since\n2\t202610_9_9_0\tdropped\n1\t202611_6_6_0\tthere\n"
	write("deduplication_log_9.txt", old+"1\t202612_1_1_0\tlost, and another log was begun\n")
	write("deduplication_log_10.txt", "1\t202611_7_7_0\tlost\n1\t202611_7_7_0\tlost, its second block\n1\t202611_6_6_0\tcut o")
	n, err := forgetLost(dir)
	if err != nil || n != 4 {
		t.Errorf("%d blocks forgotten, %v, want 4", n, err)
	}
	got := map[string]string{}
	files, err := os.ReadDir(logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(logs, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name()] = string(text)
	}
	if diff := cmp.Diff(map[string]string{"deduplication_log_9.txt": old, "deduplication_log_10.txt": ""}, got); diff != "" {
		t.Error(diff)
	}
	if n, err := forgetLost(dir); err != nil || n != 0 {
		t.Errorf("a second start forgets %d, %v", n, err)
	}
}

// The same with the engine itself.
func TestTheEngineTakesALostInsertAgain(t *testing.T) {
	needLibrary(t)
	cmd, out, _ := child(t, "lost-insert", t.TempDir())
	for out.Scan() {
		if got := out.Text(); got != "1" {
			t.Errorf("the row is there %s times, want once", got)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func FuzzDeduplicationLog(f *testing.F) {
	f.Add([]byte("1\t202611_1_1_0\ta\n2\t202611_1_1_0\ta\n1\t202611_9_9_0\tb\n"), 2)
	f.Add([]byte("1\tall_1_1_0_5\t\n\n1\t"), 10)
	parts := []part{{"202611", 1, 5}, {"all", 0, 1}}
	f.Fuzz(func(t *testing.T, text []byte, last int) {
		kept, seen, lost := withoutLost(text, parts, max(last, 0))
		if len(kept) > len(text) || lost > seen || lost == 0 != bytes.Equal(kept, text) {
			t.Errorf("%d of %d lines left out, %d bytes of %d", lost, seen, len(kept), len(text))
		}
		if again, _, lost := withoutLost(kept, parts, seen-lost); lost != 0 || !bytes.Equal(again, kept) {
			t.Errorf("a second time leaves out %d more", lost)
		}
	})
}
