package gemini_test

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
	f.Add(`{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":"4"}}`)
	f.Add(`[{"candidates":[{"index":1,"finishReason":1,"content":{"parts":[{"executableCode":{}},{"inlineData":{"mimeType":"audio/L16","data":"AAA="}}]}}]}]`)
	f.Add(`{"candidates":[{"finishReason":"STOP","groundingMetadata":{"groundingChunks":[{"web":{}}],"groundingSupports":[{"groundingChunkIndices":[0],"segment":{"endIndex":"9"}}]},"logprobsResult":{"chosenCandidates":[{}]}}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "application/json", body, false)
	})
}

func FuzzStream(f *testing.F) {
	seed(f, "answer.sse", "error.sse", "answer.json")
	f.Add("data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"index\":0}]}\n\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\\\"\"}]},\"index\":0}]}\n\n{\"error\":{\"code\":503}}")
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
