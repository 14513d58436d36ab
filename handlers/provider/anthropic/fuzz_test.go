package anthropic_test

import (
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider/providertest"
)

func seed(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		b, err := os.ReadFile("testdata/contract/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
}

func FuzzAnswer(f *testing.F) {
	seed(f, "answer.json", "error_auth.json")
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "application/json", body, false)
	})
}

func FuzzStream(f *testing.F) {
	seed(f, "answer.sse", "error.sse", "answer.json")
	f.Add(`data: {"type":"content_block_start","index":1,"content_block":{"type":"compaction","content":null}}` + "\n\n" +
		`data: {"type":"content_block_delta","index":1,"delta":{"type":"compaction_delta","content":"x"}}` + "\n\n" +
		`data: {"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","caller":{"type":"x"}}}` + "\n\n" +
		`data: {"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"char_location"}}}` + "\n\n" +
		`data: {"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"category":null}},"usage":{"iterations":[{"type":"compaction"}]}}` + "\n\n" +
		`data: {"type":"message_stop"}` + "\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "text/event-stream", body, true)
	})
}

func FuzzRefusal(f *testing.F) {
	seed(f, "error_auth.json", "error_rate_limited.json")
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 400, "application/json", body, false)
	})
}
