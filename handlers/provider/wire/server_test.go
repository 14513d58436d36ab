package wire

import (
	"testing"

	"github.com/sira-ai/sira/schemas"
)

// A tool that the vendor ran asks nothing: an answer with its call has simply
// stopped.
func TestACallOfTheVendorsOwnIsNoReasonToWait(t *testing.T) {
	t.Parallel()
	var chunks []schemas.Chunk
	a := NewAnswer(func(c schemas.Chunk) error { chunks = append(chunks, c); return nil })
	a.ServerCall(0, "ws_1", "web_search_call", `{"query":"x"}`)
	a.Text(0, "Found.")
	a.FinishAs(0, schemas.Finish{Reason: schemas.FinishStop})
	a.FinishAs(0, schemas.Finish{Reason: schemas.FinishLength})
	res := a.Response(&schemas.Request{})
	call := res.Choices[0].Message.Parts[0].ToolCall
	if res.Choices[0].Finish.Reason != schemas.FinishStop || call == nil || call.Type != "server" || call.Arguments != `{"query":"x"}` {
		t.Errorf("answer %+v", res.Choices[0])
	}
	if len(chunks) < 4 || chunks[1].ToolCall == nil || *chunks[1].ToolCall != *call || chunks[3].Finish == nil {
		t.Errorf("chunks %+v", chunks)
	}
}
