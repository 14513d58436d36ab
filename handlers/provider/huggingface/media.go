package huggingface

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// readMedia reads a picture or sound: its bytes, whose content type tells what
// they are, or a list of base64 as some partners give. unit is what is counted.
func (a *Adapter) readMedia(res *http.Response, kind, unit string) (*schemas.Response, error) {
	typ, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	var all []schemas.Media
	if typ == "application/json" {
		b, err := a.body(res)
		if err != nil {
			return nil, err
		}
		if all = encoded(b, kind); len(all) == 0 {
			return nil, wire.Malformed("it holds neither a picture nor a sound", nil)
		}
	} else {
		b, err := wire.ReadAll(res.Body, res.ContentLength)
		if err != nil {
			return nil, err
		}
		if typ == "" || typ == "application/octet-stream" {
			typ = sniff(b)
		}
		if !strings.HasPrefix(typ, kind) || len(b) == 0 {
			return nil, wire.Malformed("it is of another type than "+kind+"*", nil)
		}
		all = []schemas.Media{{MIME: typ, Data: b}}
	}
	out := a.result(res)
	out.Media = all
	if unit != "" {
		if out.Usage.Units == nil {
			out.Usage.Units = make(map[string]decimal.Decimal, 1)
		}
		out.Usage.Units[unit] = decimal.NewFromInt(int64(len(all)))
		out.Usage.Source = schemas.UsageReported
	}
	return out, nil
}

// sniff returns the media type of what a vendor sent without one.
func sniff(b []byte) string {
	if bytes.HasPrefix(b, []byte("fLaC")) { // which the standard leaves out
		return "audio/flac"
	}
	return http.DetectContentType(b)
}

// encoded finds media in JSON: base64 under a usual name, in an object or a list
// of them.
func encoded(b []byte, kind string) []schemas.Media {
	var some []json.RawMessage
	if json.Unmarshal(b, &some) != nil {
		some = []json.RawMessage{b}
	}
	var all []schemas.Media
	for _, raw := range some {
		var o struct {
			Image, Audio, Blob, Generated string
			Data                          []struct {
				Base64 string `json:"b64_json"`
			}
		}
		var text string
		if json.Unmarshal(raw, &text) != nil {
			if json.Unmarshal(raw, &o) != nil {
				continue
			}
			text = cmp.Or(o.Image, o.Audio, o.Blob, o.Generated)
		}
		texts := []string{text}
		for _, d := range o.Data {
			texts = append(texts, d.Base64)
		}
		for _, t := range texts {
			data, err := base64.StdEncoding.DecodeString(t)
			if typ := sniff(data); err == nil && strings.HasPrefix(typ, kind) {
				all = append(all, schemas.Media{MIME: typ, Data: data})
			}
		}
	}
	return all
}
