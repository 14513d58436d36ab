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
