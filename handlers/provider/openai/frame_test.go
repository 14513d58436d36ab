package openai

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// view is what a chunk says beyond what its stream has said before.
type view struct {
	Text, Reasoning, Finish string
	Calls                   int
	Usage                   string
	Refused                 bool
	Choices                 int
}

func viewOf(o *completion) view {
	v := view{Usage: string(o.usage), Refused: o.refused, Choices: len(o.choices)}
	for i := range o.choices {
		v.Text += o.choices[i].message.content
		v.Reasoning += o.choices[i].message.reasoning
		v.Finish += o.choices[i].finish
		v.Calls += len(o.choices[i].message.calls)
	}
	return v
}

// FuzzFrame checks that knowing the frame of earlier chunks changes nothing in
// how a chunk is read, but for what the frame itself holds.
func FuzzFrame(f *testing.F) {
	f.Add(`{"id":"a","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"usage":null,"obfuscation":"abc"}
{"id":"a","choices":[{"index":0,"delta":{"content":"y\"z"},"finish_reason":null}],"usage":null,"obfuscation":"d"}
{"id":"a","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":null,"obfuscation":"e"}
{"id":"a","choices":[],"usage":{"prompt_tokens":1}}`)
	f.Add(`{"created":1,"choices":[{"delta":{"content":"x"}}]}
{"created":12,"choices":[{"delta":{"content":"y"}}]}`)
	f.Add(`{"choices":[{"delta":{"content":"x"}}],"id":"b"}
{"choices":[{"delta":{"content":"x"}}],"id":"b"}
{"choices":[{"delta":{"content":"x"}}],"id":"b"`)
	f.Add(`{"choices":[{"delta":{"content":"x"}}],"obfuscation":"b"}
{"choices":[{"delta":{"content":"x"}}],"obfuscation":"b\"}
{"choices":[{"delta":{"content":"x"}}],"obfuscation":"}`)
	f.Fuzz(func(t *testing.T, stream string) {
		var known frame
		for chunk := range strings.SplitSeq(stream, "\n") {
			var with, without completion
			err := known.parse(&with, []byte(chunk))
			wantErr := new(frame).parse(&without, []byte(chunk))
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%q: error %v with the frame, %v without", chunk, err, wantErr)
			}
			if err != nil {
				return // as a stream ends
			}
			got, want := viewOf(&with), viewOf(&without)
			if got.Usage == "" { // what the frame repeats was said before
				got.Usage, got.Refused = want.Usage, want.Refused
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q (-without +with the frame):\n%s", chunk, diff)
			}
		}
	})
}

func TestTextsAreReadFromTheirFrame(t *testing.T) {
	t.Parallel()
	const head = `{"id":"c","created":1,"model":"m","choices":[{"index":3,"delta":{"content":`
	for _, tail := range []string{
		`},"finish_reason":null}]}`,
		`},"finish_reason":null}],"usage":null,"obfuscation":"a8"}`,
	} {
		var f frame
		for i, text := range []string{"a", "b\\n", "☃"} {
			var c completion
			body := []byte(head + `"` + text + `"` + tail)
			if hit := f.spoken(&c, body); hit != (i > 0) {
				t.Errorf("%s: chunk %d taken from the frame: %v", tail, i, hit)
			}
			c = completion{}
			if err := f.parse(&c, body); err != nil || len(c.choices) != 1 || c.choices[0].index != 3 {
				t.Errorf("%s: chunk %d read as %+v, %v", tail, i, c, err)
			}
		}
	}
}

// FuzzPieces checks that a stencil of earlier events changes nothing in how an
// event is read.
func FuzzPieces(f *testing.F) {
	f.Add(`{"type":"response.output_text.delta","sequence_number":4,"item_id":"m","output_index":1,"content_index":2,"delta":"a","logprobs":[],"obfuscation":"x"}
{"type":"response.output_text.delta","sequence_number":15,"item_id":"m","output_index":1,"content_index":2,"delta":"b\n","logprobs":[],"obfuscation":""}
{"type":"response.output_text.delta","sequence_number":16,"item_id":"m","output_index":1,"content_index":3,"delta":"c","logprobs":[],"obfuscation":"y"}`)
	f.Add(`{"type":"a","delta":"x","delta":"y","sequence_number":1,"sequence_number":2}
{"type":"a","delta":"x","delta":"z","sequence_number":-1,"sequence_number":2}`)
	f.Add(`{"type":"a","delta":1}
{"type":"a","delta":12}
{"type":"a","delta":1x}`)
	f.Fuzz(func(t *testing.T, stream string) {
		var known eventReader
		for text := range strings.SplitSeq(stream, "\n") {
			var with, without event
			err := known.parse(&with, []byte(text))
			wantErr := new(eventReader).parse(&without, []byte(text))
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%q: error %v with the stencil, %v without", text, err, wantErr)
			}
			if err != nil {
				return
			}
			if with.kind != without.kind || with.delta != without.delta || with.place != without.place ||
				with.content != without.content || with.summary != without.summary || with.failed != without.failed {
				t.Fatalf("%q: %+v with the stencil, %+v without", text, with, without)
			}
		}
	})
}
