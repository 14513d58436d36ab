package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/stability"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func stabilityVendor() vendor {
	return vendor{
		operation: stabilityOperation,
		build: func(_ *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
			return catalog.New("provider", stability.Entry).Build("stability", nil, catalog.Env{HTTP: client})
		},
		read:    stabilityReading,
		request: stabilityRequest,
	}
}

func stabilityOperation(x *exchange) schemas.Operation {
	stabilityMend(x)
	where := x.Request.URL
	if u, err := url.Parse(where); err == nil {
		where = u.Path
	}
	has := func(s string) bool { return strings.Contains(where, s) || strings.Contains(x.Op, s) }
	switch {
	case has("engines.list"), has("engines/list"):
		return schemas.OpModels
	case has("user"):
		return ""
	case has("video"):
		return schemas.OpVideo
	case has("audio-to-audio"), has("audio/stable-audio-2/inpaint"):
		return ""
	case has("audio"):
		return schemas.OpSpeech
	case has("image-to-image"), has("/edit/"), has("/upscale/"), has("/control/"), has("edit."), has("upscale"), has("control."):
		return schemas.OpImageEdit
	case has("text-to-image"), has("generate"), has("v2beta"), has("/results/"), x.Op == opError:
		return schemas.OpImage
	}
	return ""
}

// stabilityRequest asks at the endpoint of the recording.
func stabilityRequest(x *exchange, req *schemas.Request) {
	switch req.Operation() {
	case schemas.OpVideo: // made of a picture, not of words
		req.Video = &schemas.VideoSpec{Inputs: sample(schemas.OpImageEdit, false).Image.Inputs}
	case schemas.OpImage, schemas.OpImageEdit:
		_, where, _ := strings.Cut(x.Request.URL, "/v2beta/stable-image/")
		if where, _, _ = strings.Cut(where, "/result/"); where == "" {
			where = "edit/inpaint"
			if req.Operation() == schemas.OpImage || !strings.Contains(x.Request.URL, "v2beta") {
				return
			}
		}
		if raw, err := json.Marshal(map[string]string{"endpoint": where}); err == nil {
			req.Ext = map[string]json.RawMessage{"stability": raw}
		}
	}
}

// stabilityMend fills in what the vendor's examples leave out: the type of an
// answer, and a picture in the place of words about one.
func stabilityMend(x *exchange) {
	body := &x.Response.Body
	if strings.HasPrefix(*body, "PNG bytes") {
		*body = "\x89PNG\r\n\x1a\n" + *body
	}
	*body = strings.ReplaceAll(*body, "...very long string...", "iVBORw0KGgo=")
}

// stabilityNames are the vendor's names of errors that say more than the status.
var stabilityNames = map[string]schemas.Code{
	"content_moderation": schemas.ContentFiltered, "invalid_prompts": schemas.ContentFiltered,
	"insufficient_balance": schemas.QuotaExhausted, "payment_required": schemas.QuotaExhausted,
}

// stabilityStatus is what a status means (CANONICAL.md section 7.2).
var stabilityStatus = map[int]schemas.Code{
	400: schemas.InvalidRequest, 422: schemas.InvalidRequest, 401: schemas.Auth, 402: schemas.QuotaExhausted,
	403: schemas.Permission, 404: schemas.NotFound, 410: schemas.NotFound, 413: schemas.PayloadTooLarge, 429: schemas.RateLimited,
	500: schemas.Internal, 502: schemas.Unavailable, 503: schemas.Unavailable, 504: schemas.Timeout,
}

func stabilityReading(x *exchange, op schemas.Operation) (reading, error) {
	var body any
	isJSON := json.Unmarshal(x.body(), &body) == nil
	if s := x.Response.Status; s >= 300 {
		if code, known := stabilityNames[text(dig(body, "name"))]; known {
			return refusal(code)
		}
		if code, known := stabilityStatus[s]; known {
			return refusal(code)
		}
		return refusal(schemas.Internal)
	}
	r := unsaid()
	if op == schemas.OpModels {
		r.Models = len(list(body))
		return r, nil
	}
	if !isJSON {
		if strings.HasPrefix(strings.TrimSpace(x.Response.Body), "{") {
			return r, errUnreadable
		}
		r.Media = 1
		for k, v := range x.Response.Headers {
			if strings.EqualFold(k, "Finish-Reason") && v == "CONTENT_FILTERED" {
				return refusal(schemas.ContentFiltered)
			}
		}
		return r, nil
	}
	made := list(body)
	if made == nil {
		made = list(dig(body, "artifacts"))
	}
	if made == nil {
		made = []any{body}
	}
	r.Media = 0
	filtered := false
	for _, m := range made {
		switch text(dig(m, "finishReason")) + text(dig(m, "finish_reason")) {
		case "SUCCESS":
			r.Media++
		case "CONTENT_FILTERED":
			filtered = true
		case "":
			if text(dig(m, "image"))+text(dig(m, "video"))+text(dig(m, "audio"))+text(dig(m, "base64")) == "" {
				return stabilityJob(x, m)
			}
			r.Media++
		}
	}
	switch {
	case r.Media > 0:
		return r, nil
	case filtered:
		return refusal(schemas.ContentFiltered)
	}
	return refusal(schemas.Internal)
}

// stabilityJob reads work that was only accepted.
func stabilityJob(x *exchange, m any) (reading, error) {
	r := unsaid()
	switch {
	case text(dig(m, "id")) == "":
		return r, errUnreadable
	case x.Response.Status == http.StatusAccepted:
		r.Job = schemas.JobRunning
	default:
		r.Job = schemas.JobQueued
	}
	return r, nil
}
