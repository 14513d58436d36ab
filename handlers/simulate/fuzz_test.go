package simulate

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func FuzzScannerAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `{"a":[1,-2.5e+3,{"b":null}],"c":"\u00e9\n"}`, `{"a":1,}`, `[1 2]`, `{"a" 1}`, "{\"a\":\"\x01\"}", `01`, `1.`, `"\ud800"`,
		` true `, `tru`, `{"a":}`, `[,1]`, `{} {}`, `"\u12g4"`, "\x00", `-`, `1e`, "{}\x00", `{"a":1}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := scanner{b: body}
		s.skip()
		if err := s.end(); (err == nil) != json.Valid(body) {
			t.Errorf("scanner: %v, encoding/json: %t", err, json.Valid(body))
		}
	})
}

func FuzzDialectsParse(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}`,
		`{"model":"m","max_tokens":1,"messages":[{"role":"user"}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"f"}}}`,
		`{"model":"m","max_tokens":1,"messages":[{"role":"user"}],"tools":[{"name":"f"}],"tool_choice":{"type":"any"}}`,
		`{"model":"\u006d","messages":null,"tools":5,"tool_choice":[],"stream_options":null,"n":1.5}`,
		`{"model":"é`, `{"messages":[5]}`,
	} {
		f.Add([]byte(seed))
	}
	header := http.Header{"Anthropic-Version": {"2023-06-01"}, "Content-Type": {"multipart/form-data; boundary=x"}}
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n" +
		"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nRIFF\r\n--x--\r\n"))
	f.Add([]byte(`{"contents":[{}],"model":"m","input":["a","b"],"inputs":"a","input_type":"x","texts":["a"],"query":"q","documents":["a","b"],"top_n":1,` +
		`"content":{},"requests":[{"content":{}}],"prompt":"p","voice":"v","max_tokens":1,"messages":[{"role":"user"}]}`))
	f.Add([]byte(`{"input":{"max_tokens":3}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for path, to := range allFormats() {
			d := dialectNamed(strings.Split(path, "/")[1])
			before := bytes.Clone(body)
			q, wrong := to.format.parse(header, body)
			if !bytes.Equal(before, body) {
				t.Fatal("the body was changed")
			}
			if wrong != nil {
				status, answer := d.refuse(nil, http.Header{}, *wrong, 1)
				if status < 400 || !json.Valid(answer) {
					t.Errorf("%s: refusal %d %s", path, status, answer)
				}
				continue
			}
			a := answer{request: q, tokens: 3, ending: endingStop, job: &jobView{state: jobSucceeded}}
			whole := to.format.whole(nil, &a)
			if _, other := to.format.(typed); !other && !json.Valid(whole) {
				t.Errorf("%s: answer %s", path, whole)
			}
			if s, ok := to.format.(streamFormat); ok {
				for _, kind := range []pieceKind{pieceOpen, pieceDelta, pieceFinish, pieceEnd, pieceBroken} {
					s.piece(nil, &a, piece{kind: kind})
				}
			}
		}
	})
}

// allFormats returns every format by a path that leads to it.
func allFormats() map[string]endpoint {
	all := make(map[string]endpoint)
	for _, path := range []string{
		"/openai/v1/chat/completions", "/openai/v1/responses", "/openai/v1/embeddings", "/openai/v1/images/generations",
		"/openai/v1/audio/speech", "/openai/v1/audio/transcriptions", "/openai/v1/moderations",
		"/anthropic/v1/messages", "/anthropic/v1/messages/count_tokens",
		"/gemini/v1beta/models/m:generateContent", "/gemini/v1beta/models/m:countTokens", "/gemini/v1beta/models/m:embedContent",
		"/gemini/v1beta/models/m:batchEmbedContents", "/cohere/v2/chat", "/cohere/v2/embed", "/cohere/v2/rerank",
		"/ai21/studio/v1/chat/completions", "/together/v1/chat/completions", "/together/v1/rerank",
		"/azure_openai/openai/deployments/d/chat/completions", "/azure_openai/openai/deployments/d/embeddings",
		"/azure_openai/openai/v1/chat/completions", "/huggingface/v1/chat/completions",
		"/huggingface/hf-inference/models/a/b/pipeline/feature-extraction", "/replicate/v1/predictions",
		"/replicate/v1/models/a/b/predictions", "/replicate/v1/streams/x", "/stability/v2beta/stable-image/generate/core",
	} {
		_, d, rest := split(path)
		all[path] = d.route(rest)
	}
	return all
}

func FuzzParseDirective(f *testing.F) {
	for _, seed := range []string{"429", "429;retry-after=3", "cut; after=2 ;times=1", "slow;latency=5s", ";", "429;;", "cut;after=99999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDirective(text)
		if err != nil {
			return
		}
		if err := d.fault.validate(d.kind.String()); err != nil {
			t.Errorf("%q gave %+v: %v", text, d, err)
		}
	})
}

func FuzzDecodeBehaviour(f *testing.F) {
	f.Add([]byte(`{"down":true,"latency":{"kind":"uniform","min":"5ms","max":"300ms"},"faults":{"429":{"share":0.1}}}`))
	f.Add([]byte(`{"latency":{"kind":"lognormal","median":"1s","sigma":9.5},"tokens":{"min":0,"max":9},"tokens_per_second":0.001}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := decodeBehaviour(bytes.NewReader(body))
		if err != nil || b.Validate() != nil {
			return
		}
		for seed := range uint64(20) {
			if d := b.Latency.draw(seed); d < 0 || d > maxLatency {
				t.Errorf("latency %v", d)
			}
			if n := b.Tokens.draw(seed); n < 0 || n > maxTokens {
				t.Errorf("%d tokens", n)
			}
			b.drawFault(seed, 1)
		}
		if b.interval() < 0 {
			t.Errorf("interval %v", b.interval())
		}
	})
}
