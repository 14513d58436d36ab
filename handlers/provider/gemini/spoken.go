package gemini

import (
	"cmp"
	"context"
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// speech asks for a text to be spoken: a chat whose answer is sound.
func (a *adapter) speech(ctx context.Context, call provider.Call) (*http.Request, error) {
	s := call.Request.Speech
	switch s.Format {
	case "", "pcm", "wav":
	default:
		return nil, wire.Unsupported("speech.format", "is not pcm or wav")
	}
	said := s.Text
	if s.Instructions != "" {
		said = s.Instructions + ":\n" + said
	}
	req := disguised(call.Request, schemas.TextMessage(schemas.RoleUser, said))
	req.Output = &schemas.OutputSpec{Modalities: []string{"audio"}}
	var more []byte
	if s.Voice != "" || s.Language != "" {
		more = append(more, `{"speechConfig":{`...)
		if s.Voice != "" {
			more = append(jsontext.AppendField(more, "voiceConfig"), `{"prebuiltVoiceConfig":{"voiceName":`...)
			more = append(jsontext.AppendString(more, s.Voice), "}}"...)
		}
		more = append(jsontext.AppendStringField(more, "languageCode", s.Language), "}}"...)
	}
	return a.generate(ctx, call, req, more)
}

// disguised returns a chat that has of req what every chat may have.
func disguised(req *schemas.Request, messages ...schemas.Message) *schemas.Request {
	return &schemas.Request{
		ID: req.ID, Tenant: req.Tenant, Model: req.Model, Stream: req.Stream, Messages: messages,
		Sampling: req.Sampling, EndUser: req.EndUser, Ext: req.Ext, ServiceTier: req.ServiceTier,
	}
}

func (a *adapter) spoken(res *http.Response, req *schemas.Request, emit provider.Emit) (*schemas.Response, error) {
	answer, err := a.answered(res, req, emit)
	if err != nil {
		return nil, err
	}
	if err := lift(answer, schemas.PartAudio); err != nil {
		return nil, err
	}
	for i := range answer.Media {
		if m := &answer.Media[i]; req.Speech.Format == "wav" && strings.HasPrefix(strings.ToLower(m.MIME), "audio/l16") {
			m.Data, m.MIME = wav(m.Data, rate(m.MIME)), "audio/wav"
		}
	}
	return answer, nil
}

// lift moves the media of an answer to where the operations that make them have
// them. An answer without any is no answer.
func lift(answer *schemas.Response, kind schemas.PartKind) error {
	reason := schemas.FinishReason("")
	var raw string
	for i := range answer.Choices {
		c := &answer.Choices[i]
		reason, raw = c.Finish.Reason, c.Finish.Raw
		rest := c.Message.Parts[:0]
		for _, p := range c.Message.Parts {
			if p.Kind == kind && p.Media != nil {
				answer.Media = append(answer.Media, *p.Media)
			} else {
				rest = append(rest, p)
			}
		}
		c.Message.Parts = rest
	}
	if len(answer.Media) > 0 {
		return nil
	}
	f := wire.Malformed("it holds no "+string(kind), nil)
	if reason == schemas.FinishContentFilter {
		f = schemas.Fail(schemas.ContentFiltered, "the provider's filter withheld the "+string(kind), nil)
	}
	f.VendorCode, f.Usage = raw, &answer.Usage
	return f
}

// rate returns the sample rate that a media type such as
// audio/L16;codec=pcm;rate=24000 names.
func rate(mime string) uint32 {
	for field := range strings.SplitSeq(mime, ";") {
		if n, found := strings.CutPrefix(strings.TrimSpace(field), "rate="); found {
			if hz, err := strconv.ParseUint(n, 10, 32); err == nil {
				return uint32(hz)
			}
		}
	}
	return 24000
}

// wav returns 16 bit PCM of one channel with the header of a WAV file.
func wav(pcm []byte, hz uint32) []byte {
	const header, width = 44, 2
	b := make([]byte, 0, header+len(pcm))
	word, half := binary.LittleEndian.AppendUint32, binary.LittleEndian.AppendUint16
	b = append(word(append(b, "RIFF"...), uint32(header-8+len(pcm))), "WAVEfmt "...)
	b = half(half(word(b, 16), 1), 1) // length of the chunk, PCM, channels
	b = half(half(word(word(b, hz), hz*width), width), 8*width)
	b = word(append(b, "data"...), uint32(len(pcm)))
	return append(b, pcm...)
}

// transcribe asks for the words of a recording: a chat about sound.
func (a *adapter) transcribe(ctx context.Context, call provider.Call) (*http.Request, error) {
	t := call.Request.Transcribe
	if t.Timestamps != "" {
		return nil, wire.Unsupported("transcribe.timestamps", "is not offered by this provider")
	}
	ask := "Generate a verbatim transcript of the speech."
	if t.Translate {
		ask = "Translate the speech into English."
	}
	ask += " Answer with the text only."
	if t.Language != "" {
		ask += " The language of the speech is " + t.Language + "."
	}
	if t.Prompt != "" {
		ask += "\n" + t.Prompt
	}
	audio := t.Audio
	audio.MIME = cmp.Or(audio.MIME, mimeOf("", audio.Name))
	req := disguised(call.Request, schemas.Message{Role: schemas.RoleUser, Parts: []schemas.Part{
		{Kind: schemas.PartText, Text: ask}, {Kind: schemas.PartAudio, Media: &audio},
	}})
	if t.Temperature != nil {
		s := schemas.Sampling{}
		if req.Sampling != nil {
			s = *req.Sampling
		}
		s.Temperature = t.Temperature
		req.Sampling = &s
	}
	return a.generate(ctx, call, req, nil)
}

func (a *adapter) transcribed(res *http.Response, req *schemas.Request, emit provider.Emit) (*schemas.Response, error) {
	answer, err := a.answered(res, req, emit)
	if err != nil {
		return nil, err
	}
	finish := answer.Choices[0].Finish
	if finish.Reason != schemas.FinishStop {
		f := wire.Malformed("the transcript is not whole", nil)
		if finish.Reason == schemas.FinishContentFilter {
			f = schemas.Fail(schemas.ContentFiltered, "the provider's filter withheld the transcript", nil)
		}
		f.VendorCode, f.Usage = finish.Raw, &answer.Usage
		return nil, f
	}
	answer.Transcript = &schemas.Transcript{Text: strings.TrimSpace(answer.Text()), Language: req.Transcribe.Language}
	return answer, nil
}
