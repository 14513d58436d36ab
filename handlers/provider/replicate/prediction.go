package replicate

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// prediction is what matters of the vendor's object. Slices share memory with
// what was read.
type prediction struct {
	id, model, version, status string
	fault                      string // what went wrong, in words
	output, metrics            []byte
	stream                     string
	progress                   float64
	removed                    bool
}

func (p *prediction) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "id":
			p.id = c.Text()
		case "model":
			p.model = c.Text()
		case "version":
			p.version = c.Text()
		case "status":
			p.status = c.Text()
		case "error":
			p.fault = c.Text()
		case "output":
			p.output = c.Raw()
		case "metrics":
			p.metrics = c.Raw()
		case "logs":
			p.progress = percent(c.Raw())
		case "data_removed":
			p.removed = string(c.Raw()) == "true"
		case "urls":
			if c.Object() {
				for c.Key() {
					if string(c.Name()) == "stream" {
						p.stream = c.Text()
					} else {
						c.Skip()
					}
				}
			}
		default:
			c.Skip()
		}
	}
}

// name returns the model as the vendor calls it; official models hide their
// version.
func (p *prediction) name(asked string) string {
	switch {
	case p.model != "" && p.version != "" && p.version != "hidden" && !strings.HasPrefix(p.version, "dp-"):
		return p.model + ":" + p.version
	case p.model != "":
		return p.model
	case p.version != "" && p.version != "hidden":
		return p.version
	}
	return asked
}

// percent returns the last percentage in a model's log, 0 to 1: many write a bar
// of progress there.
func percent(logs []byte) float64 {
	at := bytes.LastIndexByte(logs, '%')
	if at < 0 {
		return 0
	}
	from := at
	for from > 0 && at-from < 3 && logs[from-1] >= '0' && logs[from-1] <= '9' {
		from--
	}
	n, err := strconv.Atoi(string(logs[from:at]))
	if err != nil || n > 100 {
		return 0
	}
	return float64(n) / 100
}

// usage returns what the prediction's metrics say. Its Source is empty where
// they say nothing that is billed.
func (p *prediction) usage() schemas.Usage {
	var u schemas.Usage
	c := jsontext.NewCursor(p.metrics)
	if len(p.metrics) == 0 || !c.Object() {
		return u
	}
	for c.Key() {
		switch string(c.Name()) {
		case "input_token_count":
			u.InputTokens, u.Source = c.Count(), schemas.UsageReported
		case "output_token_count":
			u.OutputTokens, u.Source = c.Count(), schemas.UsageReported
		case "predict_time":
			if d, err := decimal.NewFromString(string(c.Raw())); err == nil && !d.IsNegative() && d.Exponent() > -30 && d.Exponent() < 10 {
				u.Units = map[string]decimal.Decimal{"gpu_seconds": d}
				u.Source = schemas.UsageReported
			}
		default:
			c.Skip()
		}
	}
	if u.Source != "" {
		u.Raw = bytes.Clone(p.metrics)
	}
	return u
}

// unit returns units with one more kind in them.
func unit(units map[string]decimal.Decimal, kind string, n int64) map[string]decimal.Decimal {
	all := maps.Clone(units)
	if all == nil {
		all = make(map[string]decimal.Decimal, 1)
	}
	all[kind] = decimal.NewFromInt(n)
	return all
}

// texts returns the pieces of a text: a string, a list of strings, or an object
// that has one of these under a usual name.
func texts(output []byte) []string {
	c := jsontext.NewCursor(output)
	switch c.Kind() {
	case '"':
		return []string{c.Text()}
	case '[':
		c.Array()
		all := []string{}
		for c.Item() {
			all = append(all, c.Text()) // what is no string is its JSON
		}
		return all
	case '{':
		for _, key := range []string{"text", "output", "response", "content", "completion", "generated_text"} {
			if v := find(output, key); len(v) > 0 && (v[0] == '"' || v[0] == '[') {
				return texts(v)
			}
		}
	}
	return []string{string(output)} // numbers, booleans and objects of a model's own
}

// find returns the value of a key in an object.
func find(raw []byte, key string) []byte {
	c := jsontext.NewCursor(raw)
	if c.Object() {
		for c.Key() {
			if string(c.Name()) == key {
				return c.Raw()
			}
			c.Skip()
		}
	}
	return nil
}

// media returns the files of an output, which are addresses or data URLs: one, a
// list, or somewhere in an object.
func media(output []byte) ([]schemas.Media, error) {
	all := files(nil, output, 0)
	if len(all) == 0 {
		return nil, wire.Malformed("the prediction's output holds no file", nil)
	}
	return all, nil
}

// maxFiles bounds what is taken from one output.
const maxFiles = 1000

func files(all []schemas.Media, raw []byte, depth int) []schemas.Media {
	c := jsontext.NewCursor(raw)
	switch kind := c.Kind(); {
	case depth > 8 || len(all) >= maxFiles:
	case kind == '"':
		if m, ok := fileAt(c.Text()); ok {
			all = append(all, m)
		}
	case kind == '[':
		c.Array()
		for c.Item() {
			all = files(all, c.Raw(), depth+1)
		}
	case kind == '{':
		c.Object()
		for c.Key() {
			all = files(all, c.Raw(), depth+1)
		}
	}
	return all
}

// fileAt returns the file that an address leads to, or that it holds.
func fileAt(address string) (schemas.Media, bool) {
	if rest, ok := strings.CutPrefix(address, "data:"); ok {
		kind, data, found := strings.Cut(rest, ";base64,")
		if !found {
			return schemas.Media{}, false
		}
		var b []byte
		quoted := make([]byte, 0, len(data)+2)
		quoted = append(append(append(quoted, '"'), data...), '"')
		if json.Unmarshal(quoted, &b) != nil { // base64, as encoding/json has it
			return schemas.Media{}, false
		}
		return schemas.Media{MIME: kind, Data: b}, true
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return schemas.Media{}, false
	}
	name := path.Base(u.Path)
	return schemas.Media{URL: address, MIME: types[strings.ToLower(path.Ext(name))], Name: name}, true
}

// types are the media types of the files that models make, by the end of the
// name. The platform's own table differs from machine to machine.
var types = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif", ".svg": "image/svg+xml",
	".mp4": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime",
	".mp3": "audio/mpeg", ".wav": "audio/wav", ".ogg": "audio/ogg", ".flac": "audio/flac", ".opus": "audio/opus", ".m4a": "audio/mp4",
	".glb": "model/gltf-binary", ".zip": "application/zip", ".txt": "text/plain", ".json": "application/json",
}
