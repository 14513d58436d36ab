package openai_test

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
	f.Add(`{"choices":[{"message":{"content":[{"text":"a"}],"tool_calls":[{"function":{"arguments":{"a":1}}}]}}],"usage":{"prompt_tokens":"4"}}`)
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "application/json", body, false)
	})
}

func FuzzStream(f *testing.F) {
	seed(f, "answer.sse", "error.sse", "answer.json")
	f.Add("data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"a\"},{\"id\":\"b\"}]},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "text/event-stream", body, true)
	})
}

func FuzzRefusal(f *testing.F) {
	seed(f, "error_auth.json", "error_rate_limited.json")
	f.Add(`{"error":"text"}`)
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 400, "application/json", body, false)
	})
}
