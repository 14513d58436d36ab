package wire_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// summed puts chunks together by part, as a reader of a stream does.
func summed(chunks []schemas.Chunk) []string {
	var parts []string
	for _, c := range chunks {
		for len(parts) <= c.PartIndex {
			parts = append(parts, "")
		}
		switch c.Type {
		case schemas.ChunkText:
			parts[c.PartIndex] = "text: " + strings.TrimPrefix(parts[c.PartIndex], "text: ") + c.Text
		case schemas.ChunkReasoning:
			parts[c.PartIndex] = "thought: " + strings.TrimPrefix(parts[c.PartIndex], "thought: ") + c.Text
		case schemas.ChunkToolCallStart:
			parts[c.PartIndex] = "call: " + c.ToolCall.Name
		}
	}
	return parts
}

func TestThoughtsAreTheSameInPiecesAndWhole(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want []string
	}{
		{"<think>Hm.</think>Yes.", []string{"thought: Hm.", "text: Yes.", "call: f"}},
		{" \n<think>\nHm. <b></think>\n\nYes. </think>", []string{"thought: \nHm. <b>", "text: \n\nYes. </think>", "call: f"}},
		{"<think>Hm", []string{"thought: Hm", "call: f"}},
		{"<think>Hm</think>", []string{"thought: Hm", "call: f"}},
		{"<thin ice>", []string{"text: <thin ice>", "call: f"}},
		{"<thi", []string{"text: <thi", "call: f"}},
		{"Yes. <think>no</think>", []string{"text: Yes. <think>no</think>", "call: f"}},
	}
	for _, tt := range tests {
		for size := 1; size <= len(tt.text); size++ {
			var chunks []schemas.Chunk
			emit := func(c schemas.Chunk) error { chunks = append(chunks, c); return nil }
			th := wire.NewThoughts(emit)
			a := wire.NewAnswer(th.Emit)
			for i := 0; i < len(tt.text); i += size {
				a.Text(0, tt.text[i:min(i+size, len(tt.text))])
			}
			a.ToolCall(0, "id", "f")
			a.Finish(0, schemas.Finish{Reason: schemas.FinishStop})
			res := a.Response(&schemas.Request{})
			th.Split(res)
			var whole []string
			for _, p := range res.Choices[0].Message.Parts {
				switch p.Kind {
				case schemas.PartReasoning:
					whole = append(whole, "thought: "+p.Reasoning.Text)
				case schemas.PartToolCall:
					whole = append(whole, "call: "+p.ToolCall.Name)
				default:
					whole = append(whole, "text: "+p.Text)
				}
			}
			if diff := cmp.Diff(tt.want, whole); diff != "" {
				t.Errorf("%q whole (-want +got):\n%s", tt.text, diff)
			}
			if diff := cmp.Diff(tt.want, summed(chunks)); diff != "" {
				t.Errorf("%q in pieces of %d (-want +got):\n%s", tt.text, size, diff)
			}
			if last := chunks[len(chunks)-2]; last.Type != schemas.ChunkFinish {
				t.Errorf("%q: chunk before the usage is %s, want the finish", tt.text, last.Type)
			}
		}
	}
}
