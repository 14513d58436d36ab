package simulate

import (
	"bytes"
	"encoding/json"
	"net/http"
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
	header := http.Header{"Anthropic-Version": {"2023-06-01"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, d := range dialects {
			before := bytes.Clone(body)
			q, wrong := d.parse(header, body)
			if !bytes.Equal(before, body) {
				t.Fatal("the body was changed")
			}
			if wrong != nil {
				status, answer := d.refuse(nil, http.Header{}, *wrong, 1)
				if status < 400 || !json.Valid(answer) {
					t.Errorf("%s: refusal %d %s", d.segment(), status, answer)
				}
				continue
			}
			if !json.Valid(body) {
				t.Errorf("%s took what is not JSON", d.segment())
			}
			a := answer{request: q, tokens: 3, ending: endingStop}
			if whole := d.whole(nil, &a); !json.Valid(whole) {
				t.Errorf("%s: answer %s", d.segment(), whole)
			}
		}
	})
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
