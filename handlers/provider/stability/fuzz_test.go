package stability_test

import (
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// go test ./handlers/provider/stability -run '^$' -fuzz FuzzDecode -fuzztime 30s.
func FuzzDecode(f *testing.F) {
	f.Add(200, "application/json", `{"image":"`+b64+`","finish_reason":"SUCCESS","seed":7}`)
	f.Add(200, "application/json", `{"artifacts":[{"base64":"`+b64+`","finishReason":"CONTENT_FILTERED","seed":7}]}`)
	f.Add(202, "application/json", `{"id":"0aF9","status":"in-progress"}`)
	f.Add(200, "image/png", png)
	f.Add(403, "application/json", `{"name":"content_moderation","errors":["x"]}`)
	a := newAdapter(f, nil)
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		if status < 200 || status > 599 {
			return
		}
		for _, call := range []provider.Call{image("core", nil), {Request: &schemas.Request{Op: schemas.OpModels}}} {
			res, err := answer(status, contentType, body).decode(a, call, nil)
			switch {
			case (res == nil) == (err == nil):
				t.Errorf("%+v, %v", res, err)
			case err != nil && !schemas.AsFailure(err).Code.Known():
				t.Errorf("failure without a known code: %+v", err)
			case err == nil && call.Request.Op == schemas.OpImage && len(res.Media) == 0 && res.Job == nil:
				t.Errorf("an answer without a picture: %+v", res)
			}
		}
	})
}
