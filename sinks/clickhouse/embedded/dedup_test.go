package embedded

import (
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
	write("deduplication_log_10.txt", "1\t202611_7_7_0\tlost\n1\t202611_7_7_0\tlost, its second block\n")
	n, err := forgetLost(dir)
	if err != nil || n != 3 {
		t.Errorf("%d blocks forgotten, %v, want 3", n, err)
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
