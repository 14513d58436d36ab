package simulation

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant is a mistake planted into the engine. A simulation that does not find
// it within 200 worlds is worth nothing.
type mutant struct {
	name, file, old, planted string
}

var mutants = []mutant{
	{
		"the ownership lock is skipped", "commit.go",
		"	s.own.lock()\n	defer s.own.unlock()\n	if s.broken.Load() {", "	if s.broken.Load() {",
	},
	{
		"the offset map is stripped", "commit.go",
		"c.offset, c.epoch, new(c.metadata)\n			rt.Partitions = append(rt.Partitions, rp)\n		}\n		topics = append(topics, rt)",
		"c.offset, c.epoch, new(\"\")\n			rt.Partitions = append(rt.Partitions, rp)\n		}\n		topics = append(topics, rt)",
	},
	{
		"a partition's error is ignored", "commit.go",
		"				return fmt.Errorf(\"%s/%d: %w\", t.Topic, p.Partition, err)\n			}\n		}\n	}\n	return nil\n}\n\n// addGroup",
		"				_ = err\n			}\n		}\n	}\n	return nil\n}\n\n// addGroup",
	},
	{
		"a request is acknowledged before it is worked on", "tracker.go",
		"		if t.states[j] != offsetDone && t.states[j] != inBatch {", "		if t.states[j] == offsetReady || t.states[j] == offsetDropped {",
	},
	{
		"a request is settled twice", "tracker.go",
		"	t.pending = append(t.pending, c)\n}", "	t.pending = append(t.pending, c, c)\n}",
	},
}

func TestPlantedMistakesAreFound(t *testing.T) {
	if os.Getenv("SIRA_MUTANTS") == "" {
		t.Skip("compiles and runs the simulation once for each mistake: `make simulate` does it")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			source, err := filepath.Abs(filepath.Join("..", "..", "pipeline", "kafka", m.file))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte(m.old)); n != 1 {
				t.Fatalf("the place for the mistake is there %d times: adapt the mutant to the engine", n)
			}
			dir := t.TempDir()
			planted := filepath.Join(dir, m.file)
			if err := os.WriteFile(planted, bytes.Replace(text, []byte(m.old), []byte(m.planted), 1), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: planted}})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(file, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(dir, "simulation.test")
			if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", file, "-o", binary, ".").CombinedOutput(); err != nil {
				t.Fatalf("compiling: %v\n%s", err, out)
			}
			run := exec.CommandContext(t.Context(), binary, "-test.run=TestNothingIsLost", "-test.timeout=10m")
			run.Env = append(os.Environ(), "SIRA_SEEDS=200", "SIRA_FIRST=1", "SIRA_MUTANTS=")
			out, err := run.CombinedOutput()
			if err == nil {
				t.Fatal("200 worlds did not show the mistake")
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, " seed ") || strings.Contains(line, " has ") {
					t.Log(strings.TrimSpace(line))
					break
				}
			}
		})
	}
}
