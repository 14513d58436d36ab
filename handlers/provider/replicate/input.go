package replicate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// input returns the JSON of a model's input.
func input(req *schemas.Request, t *Template, files string) ([]byte, error) {
	w := writer{b: append(make([]byte, 0, 512), '{'), t: t, files: files}
	w.operation(req)
	if w.err != nil {
		return nil, w.err
	}
	for _, k := range knobs(req) {
		if name := t.name(k.field); name != "" {
			w.b = jsontext.AppendRawField(w.b, name, k.value)
		}
	}
	w.b = append(w.b, '}')
	if len(t.Fixed) > 0 {
		fixed, err := json.Marshal(t.Fixed)
		if err != nil {
			return nil, wire.Invalid("model", "has a template whose fixed fields are not JSON")
		}
		if w.b, err = wire.Overlay(fixed, "model", w.b); err != nil {
			return nil, err
		}
	}
	if ext := req.Ext[vendor]; len(ext) > 0 {
		return wire.Overlay(w.b, "ext."+vendor, ext)
	}
	return w.b, nil
}

// writer fills a model's input. Its first failure stays.
type writer struct {
	b     []byte
	t     *Template
	files string   // address of the vendor's files
	taken []string // inputs that hold a file already
	err   error
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// need returns the model's name of what cannot be left out. param is where the
// request has it.
func (w *writer) need(field, param string) string {
	name := w.t.name(field)
	if name == "" {
		w.fail(wire.Unsupported(param, "has no place in this model's input: name it in the model's template, as "+field))
	}
	return name
}

func (w *writer) text(field, param, s string) {
	if s == "" {
		return
	}
	if name := w.need(field, param); name != "" {
		w.b = jsontext.AppendString(jsontext.AppendField(w.b, name), s)
	}
}

func (w *writer) operation(req *schemas.Request) {
	switch op := req.Operation(); op {
	case schemas.OpChat, schemas.OpComplete:
		w.chat(req)
	case schemas.OpImage, schemas.OpImageEdit:
		w.text(fieldPrompt, "image.prompt", req.Image.Prompt)
		w.pictures("image.inputs", req.Image.Inputs)
		if req.Image.Mask != nil {
			w.media(fieldMask, "image.mask", req.Image.Mask)
		}
	case schemas.OpVideo:
		w.text(fieldPrompt, "video.prompt", req.Video.Prompt)
		w.pictures("video.inputs", req.Video.Inputs)
	case schemas.OpSpeech:
		w.text(fieldText, "speech.text", req.Speech.Text)
	case schemas.OpTranscribe:
		w.media(fieldAudio, "transcribe.audio", &req.Transcribe.Audio)
	case schemas.OpEmbed:
		w.embed(req.Embed)
	default:
		w.fail(wire.Unsupported("op", "is not offered by this provider"))
	}
}

// chat fills in a conversation: as messages where the model takes them, else as
// a prompt and a system prompt.
func (w *writer) chat(req *schemas.Request) {
	switch {
	case len(req.Tools) > 0:
		w.fail(wire.Unsupported("tools", "are not offered by this provider"))
	case req.Output != nil && req.Output.Format != "" && req.Output.Format != "text":
		w.fail(wire.Unsupported("output.format", "is text with this provider"))
	case len(req.Documents) > 0:
		w.fail(wire.Unsupported("documents", "are not offered by this provider: put them into the messages"))
	case req.Sampling != nil && req.Sampling.N != nil && *req.Sampling.N > 1:
		w.fail(wire.Unsupported("sampling.n", "is 1 with this provider"))
	}
	turns := 0
	for i := range req.Messages {
		if !instructs(req.Messages[i].Role) {
			turns++
		}
	}
	messages := w.t.name(fieldMessages)
	var system, prompt []string
	var pictures []schemas.Media
	var list []byte
	for i := range req.Messages {
		m := &req.Messages[i]
		said := w.said(m, i, &pictures)
		switch {
		case messages != "":
			list = turn(list, string(m.Role), said)
		case said == "":
		case instructs(m.Role):
			system = append(system, said)
		case turns == 1:
			prompt = append(prompt, said)
		default:
			prompt = append(prompt, speaker(m.Role)+" "+said)
		}
	}
	switch {
	case messages != "":
		w.b = append(append(append(jsontext.AppendField(w.b, messages), '['), list...), ']')
	case turns > 1:
		prompt = append(prompt, speaker(schemas.RoleAssistant))
	}
	if w.t.name(fieldSystem) == "" { // better said by the user than not at all
		system, prompt = nil, append(system, prompt...)
	}
	w.text(fieldSystem, "messages", strings.Join(system, "\n\n"))
	w.text(fieldPrompt, "messages", strings.Join(prompt, "\n\n"))
	w.pictures("messages", pictures)
}

func instructs(r schemas.Role) bool { return r == schemas.RoleSystem || r == schemas.RoleDeveloper }

func turn(list []byte, role, said string) []byte {
	if len(list) > 0 {
		list = append(list, ',')
	}
	list = jsontext.AppendString(append(list, `{"role":`...), role)
	list = jsontext.AppendString(append(list, `,"content":`...), said)
	return append(list, '}')
}

// speaker stands before a turn of a conversation that is written as one text.
func speaker(r schemas.Role) string {
	if r == schemas.RoleAssistant {
		return "Assistant:"
	}
	return "User:"
}

// said returns the text of a message and puts its other content where the model
// takes it.
func (w *writer) said(m *schemas.Message, i int, pictures *[]schemas.Media) string {
	for j := range m.Parts {
		p, at := &m.Parts[j], fmt.Sprintf("messages[%d].parts[%d]", i, j)
		switch p.Kind {
		case schemas.PartText, schemas.PartReasoning, schemas.PartRefusal:
		case schemas.PartImage:
			*pictures = append(*pictures, *p.Media)
		case schemas.PartAudio:
			w.media(fieldAudio, at, p.Media)
		case schemas.PartVideo:
			w.media(fieldVideo, at, p.Media)
		case schemas.PartFile:
			w.media(fieldFile, at, p.Media)
		default:
			w.fail(wire.Unsupported(at, "is of a kind that this provider does not take"))
		}
	}
	return m.Text()
}

// pictures fills in pictures: one of them, or a list where the model takes one.
func (w *writer) pictures(param string, list []schemas.Media) {
	name := w.t.name(fieldImages)
	switch {
	case len(list) == 0:
	case name == "" && len(list) == 1:
		field := fieldImage
		if strings.HasPrefix(list[0].MIME, "video/") {
			field = fieldVideo
		}
		w.media(field, param, &list[0])
	case name == "":
		w.fail(wire.Unsupported(param, "has more pictures than this model takes: name a list in its template, as "+fieldImages))
	default:
		w.b = append(jsontext.AppendField(w.b, name), '[')
		for i := range list {
			w.b = w.address(jsontext.AppendItem(w.b), param, &list[i])
		}
		w.b = append(w.b, ']')
	}
}

func (w *writer) media(field, param string, m *schemas.Media) {
	name := w.need(field, param)
	switch {
	case name == "":
	case slices.Contains(w.taken, name):
		w.fail(wire.Unsupported(param, "is one too many: this model takes one"))
	default:
		w.taken = append(w.taken, name)
		w.b = w.address(jsontext.AppendField(w.b, name), param, m)
	}
}

// address appends where the model finds a file: models take addresses only, and
// data as part of one.
func (w *writer) address(b []byte, param string, m *schemas.Media) []byte {
	switch {
	case len(m.Data) > 0 && m.MIME == "":
		w.fail(wire.Invalid(param, "has data without a mime type"))
	case len(m.Data) > 0:
		return jsontext.AppendBase64(b, "data:"+plain(m.MIME)+";base64,", m.Data)
	case m.URL != "":
		return jsontext.AppendString(b, m.URL)
	case m.FileID != "" && (m.Provider == "" || m.Provider == vendor):
		return jsontext.AppendString(b, w.files+"/"+m.FileID)
	default:
		w.fail(wire.Unsupported(param, "is a file of another provider: give its data or URL"))
	}
	return append(b, "null"...)
}

// plain keeps of a media type what needs no escaping in JSON.
func plain(mime string) string {
	for i := range len(mime) {
		if c := mime[i]; c <= ' ' || c == '"' || c == '\\' || c > '~' {
			return mime[:i]
		}
	}
	return mime
}

func (w *writer) embed(e *schemas.EmbedSpec) {
	texts := make([]string, len(e.Inputs))
	for i := range e.Inputs {
		p := &e.Inputs[i]
		if p.Kind != schemas.PartText {
			if p.Kind == schemas.PartImage && len(e.Inputs) == 1 {
				w.media(fieldImage, "embed.inputs[0]", p.Media)
				return
			}
			w.fail(wire.Unsupported("embed.inputs["+strconv.Itoa(i)+"]", "is not a text, or not the only input"))
			return
		}
		texts[i] = p.Text
	}
	list, asJSON := w.t.name(fieldTexts), w.t.name(fieldTextsJSON)
	switch {
	case list != "":
		w.b = jsontext.AppendStrings(jsontext.AppendField(w.b, list), texts)
	case asJSON != "":
		w.b = jsontext.AppendString(jsontext.AppendField(w.b, asJSON), string(jsontext.AppendStrings(nil, texts)))
	case len(texts) > 1:
		w.fail(wire.Unsupported("embed.inputs", "has more texts than this model takes: name a list in its template, as "+fieldTexts))
	default:
		w.text(fieldText, "embed.inputs", texts[0])
	}
}
