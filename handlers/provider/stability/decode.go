package stability

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// Decode implements [provider.Adapter] for answers and for polls. Nothing is
// streamed.
func (a *Adapter) Decode(res *http.Response, call provider.Call, _ provider.Emit) (*schemas.Response, error) {
	if res.StatusCode/100 != 2 {
		return nil, a.refusal(res)
	}
	answer, err := a.read(res, call)
	if err != nil {
		f := schemas.AsFailure(err)
		f.HTTPStatus = res.StatusCode
		if f.UpstreamRequestID == "" {
			f.UpstreamRequestID = res.Header.Get(requestID)
		}
		return nil, f
	}
	answer.UpstreamReqID = res.Header.Get(requestID)
	return answer, nil
}

func (a *Adapter) read(res *http.Response, call provider.Call) (*schemas.Response, error) {
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	media, inner := types(res.Header.Get("Content-Type"))
	isJSON := media == "application/json" || media == "" && json.Valid(body)
	if call.Request.Operation() == schemas.OpModels {
		return engines(body)
	}
	p, err := placeOf(call)
	if err != nil {
		return nil, err
	}
	var made []artifact
	switch {
	case isJSON:
		job, some, err := parse(body)
		if err != nil {
			return nil, err
		}
		if job != "" {
			return a.waiting(res, call, job), nil
		}
		made = some
	case media == "":
		media = http.DetectContentType(body)
		fallthrough
	default:
		s, _ := strconv.ParseInt(res.Header.Get("Seed"), 10, 64) // absent for what has none
		made = []artifact{{data: body, finish: res.Header.Get("Finish-Reason"), seed: s}}
	}
	return answered(made, call, p, media, inner)
}

// types returns the type of an answer and, for JSON, of what is in it, which the
// vendor says as "application/json; type=image/png": the slash is no token, so
// that package mime reads the first half only.
func types(contentType string) (media, inner string) {
	media, rest, _ := strings.Cut(contentType, ";")
	_, inner, _ = strings.Cut(rest, "type=")
	return strings.ToLower(strings.TrimSpace(media)), strings.Trim(inner, `" `)
}

// artifact is one thing that was made.
type artifact struct {
	data   []byte
	finish string
	seed   int64
}

// item is one object of the vendor's JSON. Slices share memory with what was
// read: pictures are large, so that they are decoded from where they are.
type item struct {
	id, finish, fault string
	data              []byte // a JSON string
	seed              int64
	artifacts         []item
	listed            bool // artifacts are there, even if none
}

// read takes in the object that the cursor stands before.
func (i *item) read(c *jsontext.Cursor, depth int) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "id":
			i.id = c.Text()
		case "image", "video", "audio", "result", "base64": // one of them
			i.data = c.Raw()
		case "finish_reason", "finishReason":
			i.finish = c.Text()
		case "seed":
			i.seed = c.Count()
		case "name": // of an error
			i.fault = c.Text()
		case "artifacts":
			if depth == 0 {
				i.artifacts, i.listed = items(c, depth+1), true
			} else {
				c.Skip()
			}
		default:
			c.Skip()
		}
	}
}

func items(c *jsontext.Cursor, depth int) []item {
	var all []item
	if c.Array() {
		for c.Item() {
			var i item
			i.read(c, depth)
			all = append(all, i)
		}
	}
	return all
}

// parse reads the vendor's JSON: the id of work that was accepted, or what was
// made, as base64.
func parse(body []byte) (job string, made []artifact, err error) {
	var one item
	var all []item
	c := jsontext.NewCursor(body)
	if c.Kind() == '[' {
		all = items(&c, 1)
	} else {
		one.read(&c, 0)
		all = one.artifacts
		if !one.listed {
			all = []item{one}
		}
	}
	if err := c.End(); err != nil {
		return "", nil, wire.Malformed("it is not the JSON of what was made", err)
	}
	if one.fault != "" && len(one.data) == 0 {
		code, known := names[one.fault]
		if !known {
			code = schemas.Internal
		}
		return "", nil, failed(code, "the provider reported an error: "+one.fault, one.fault, schemas.Usage{Source: schemas.UsageNone})
	}
	if !one.listed && len(one.data) == 0 && one.finish == "" && plainID(one.id) {
		return one.id, nil, nil
	}
	for i := range all {
		data, err := decoded(all[i].data)
		if err != nil {
			return "", nil, wire.Malformed("what was made is not in base64", err)
		}
		made = append(made, artifact{data: data, finish: all[i].finish, seed: all[i].seed})
	}
	return "", made, nil
}

// decoded returns what a JSON string holds in base64.
func decoded(raw []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, nil
	}
	text := raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') >= 0 { // some encoders escape the slash
		c := jsontext.NewCursor(raw)
		text = []byte(c.Text())
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(data, text)
	return data[:n], err
}

// waiting returns the job of work that was accepted. Status 202 says that it was
// accepted before.
func (a *Adapter) waiting(res *http.Response, call provider.Call, id string) *schemas.Response {
	job := &schemas.Job{ID: id, State: schemas.JobQueued, PollAfterMS: a.config.PollMS}
	if res.StatusCode == http.StatusAccepted {
		job.State = schemas.JobRunning
	}
	return &schemas.Response{UpstreamID: id, Model: call.Model, Job: job, Usage: schemas.Usage{Source: schemas.UsageNone}}
}

// answered returns what was made. media is the type of the answer, and inner that
// of what is in it.
func answered(made []artifact, call provider.Call, p *place, media, inner string) (*schemas.Response, error) {
	unit := "requests"
	if p.makes == "image/" {
		unit = "images"
	}
	usage := schemas.Usage{
		Source: schemas.UsageReported, // an answer is what is billed
		Units:  map[string]decimal.Decimal{unit: decimal.NewFromInt(int64(len(made)))},
	}
	res := &schemas.Response{Model: call.Model, Usage: usage, Warnings: unsaid(call.Request, p)}
	var seeds []int64
	filtered := 0
	for _, m := range made {
		switch m.finish {
		case "CONTENT_FILTERED":
			filtered++
			res.Safety = append(res.Safety, schemas.Safety{Source: "completion", Category: "content_filtered", Filtered: true})
			continue
		case "", "SUCCESS":
		default: // ERROR
			continue
		}
		typ := typeOf(m.data, media, inner)
		if len(m.data) == 0 || !strings.HasPrefix(typ, p.makes) {
			return nil, wire.Malformed("it is of another type than "+p.makes+"*", nil)
		}
		res.Media = append(res.Media, schemas.Media{MIME: typ, Data: m.data})
		seeds = append(seeds, m.seed)
	}
	switch lost := len(made) - len(res.Media) - filtered; {
	case len(res.Media) > 0 && lost > 0:
		res.Warnings = append(res.Warnings, strconv.Itoa(lost)+" of the pictures failed at the provider")
	case len(res.Media) > 0:
	case filtered > 0:
		return nil, failed(schemas.ContentFiltered, "the provider's filter withheld what was made", "CONTENT_FILTERED", usage)
	case len(made) > 0:
		return nil, failed(schemas.Internal, "the provider failed to make it", made[0].finish, usage)
	default:
		return nil, wire.Malformed("it holds nothing that was made", nil)
	}
	if raw, err := json.Marshal(map[string]any{"seeds": seeds}); err == nil {
		res.Ext = map[string]json.RawMessage{vendor: raw}
	}
	return res, nil
}

// typeOf returns the media type of what was made: as the answer says, else by its
// first bytes.
func typeOf(data []byte, media, inner string) string {
	switch {
	case media != "application/json" && media != "" && media != "application/octet-stream":
		return media
	case inner != "":
		return inner
	case strings.HasPrefix(string(data[:min(len(data), 4)]), "glTF"):
		return "model/gltf-binary"
	}
	return http.DetectContentType(data)
}

// engines reads the list of v1's engines. v2beta has no list.
func engines(body []byte) (*schemas.Response, error) {
	var all []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	if err := json.Unmarshal(body, &all); err != nil || all == nil {
		return nil, wire.Malformed("it is no list of engines", err)
	}
	out := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}, Models: make([]schemas.ModelInfo, len(all))}
	for i, e := range all {
		out.Models[i] = schemas.ModelInfo{ID: e.ID, Name: e.Name, Owner: vendor, Operations: []string{string(schemas.OpImage)}}
	}
	return out, nil
}
