package cohere

import "testing"

// A shortcut must not take what the long way would read otherwise.
func TestQuickTextTakesOnlyWhatItUnderstands(t *testing.T) {
	t.Parallel()
	const head, tail = `{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"`, `"}}}}`
	for body, want := range map[string]string{
		head + " word é" + tail:                      " word é",
		head + tail:                                  "",
		head + `a\n` + tail:                          "-",
		head + `a"},"tool_plan":{"x":"b` + tail:      "-",
		head + "a\x01" + tail:                        "-",
		head + "a\xff" + tail:                        "-",
		head + "a" + `"}}},"logprobs":{"text":"a"}}`: "-",
		`{"type":"content-delta","index":12,"delta":{"message":{"content":{"text":"a` + tail:    "-",
		`{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"a` + tail: "-",
		`{"type":"content-delta","index":`: "-",
	} {
		got, ok := quickText([]byte(body))
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
		var e event
		if ok && (e.parse([]byte(body)) != nil || len(e.said.blocks) != 1 || e.said.blocks[0].text != got) {
			t.Errorf("%s: the long way reads %+v", body, e.said)
		}
	}
}
