package cohere_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// always is a transport that answers everything with the same JSON.
type always string

// RoundTrip implements [http.RoundTripper].
func (a always) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: req, ContentLength: -1,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader(string(a))),
	}, nil
}

// TestRecordedAnswersAreReadAsTheyAre replays what Cohere really sent. The whole
// comparison with the bodies is integration/exchanges'.
func TestRecordedAnswersAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	for op, api := range map[string]string{"v2.chat": "v2", "v1.chat": "v1"} {
		all := providertest.Recorded(t, "cohere", op)
		for i := range all {
			x := &all[i]
			if strings.Contains(x.Response.Body, `"type":"json"`) || strings.Contains(x.Response.Body, `"type": "json"`) {
				continue // in an envelope of the recorder's
			}
			t.Run(op+" "+x.ID, func(t *testing.T) {
				res, failure, chunks := providertest.Replay(t, version(api), x)
				broken := strings.Contains(x.Response.Body, `"finish_reason":"ERROR"`)
				switch {
				case x.Response.Status >= 300 || broken:
					if failure == nil || res != nil {
						t.Fatalf("answer %+v, want a failure", res)
					}
				case failure != nil:
					t.Fatalf("failure %+v, want an answer", failure)
				default:
					checkAnswer(t, x, res, chunks)
				}
			})
		}
	}
}

func checkAnswer(t *testing.T, x *providertest.Exchange, res *schemas.Response, chunks []schemas.Chunk) {
	t.Helper()
	if res.Usage.Source != schemas.UsageReported || res.UpstreamID == "" {
		t.Errorf("answer %+v lacks the vendor's usage or id", res)
	}
	if !x.Stream {
		var body struct {
			Text    string `json:"text"`
			Message struct {
				Content []struct {
					Text string `json:"text"`
				} `json:"content"`
			} `json:"message"`
		}
		if err := json.Unmarshal([]byte(x.Response.Body), &body); err != nil {
			t.Fatal(err)
		}
		for _, part := range body.Message.Content {
			body.Text += part.Text
		}
		if body.Text != res.Text() {
			t.Errorf("text %q, want %q", res.Text(), body.Text)
		}
		return
	}
	var text string
	for _, c := range chunks {
		if c.Type == schemas.ChunkText {
			text += c.Text
		}
	}
	if text != res.Text() {
		t.Errorf("the chunks' text is %q, the answer's %q", text, res.Text())
	}
}
