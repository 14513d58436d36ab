package simulate

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/zap"
)

const manual = "../../docs/simulator.md"

// TestManualNamesEveryFault keeps the table of faults and the code together.
func TestManualNamesEveryFault(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	_, table, _ := strings.Cut(string(text), "\n## Faults\n")
	for line := range strings.Lines(table) {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(cell, "`")
			if faultNamed(name) != faultNone {
				got = append(got, name)
			}
		}
	}
	if want := faultNames(); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the manual's table has %q, the code %q", got, want)
	}
}

// TestManualsExamplesWork runs each command of the manual, in order, against one simulator. What a command prints has to
// hold the text of the comment behind it.
func TestManualsExamplesWork(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no curl here")
		}
		t.Skip("there is no curl here")
	}
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(New(Config{}, zap.NewNop()))
	defer server.Close()
	commands := 0
	for i, block := range strings.Split(string(text), "```") {
		if i%2 == 0 || !strings.HasPrefix(block, "sh\n") {
			continue
		}
		for paragraph := range strings.SplitSeq(strings.TrimPrefix(block, "sh\n"), "\n\n") {
			command, want, ok := strings.Cut(strings.TrimSpace(paragraph), "\n# ")
			if !ok {
				t.Errorf("no expectation behind %s", command)
				continue
			}
			commands++
			command = strings.ReplaceAll(command, "http://127.0.0.1:8089", server.URL)
			// curl's own status is not zero when an answer is cut off, which is what some examples show.
			out, _ := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
			if !strings.Contains(string(out), want) {
				t.Errorf("%s\nprinted %s\nwithout %q", command, out, want)
			}
		}
	}
	if commands < 8 {
		t.Errorf("the manual has %d commands", commands)
	}
}
