package openai

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// speech returns the JSON of a request to say a text aloud. A stream is asked for
// as events, which tell what was used; tts-1 has none.
func (a *Adapter) speech(call provider.Call) ([]byte, error) {
	s := call.Request.Speech
	b := append(make([]byte, 0, 256+len(s.Text)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "input"), s.Text)
	name := s.Voice
	if name == "" {
		name = voice
	}
	b = jsontext.AppendString(jsontext.AppendField(b, "voice"), name)
	b = jsontext.AppendStringField(b, "instructions", s.Instructions)
	b = jsontext.AppendStringField(b, "response_format", s.Format)
	b = jsontext.AppendFloatField(b, "speed", s.Speed)
	if call.Request.Stream && !strings.HasPrefix(call.Model, "tts-1") {
		b = jsontext.AppendStringField(b, "stream_format", "sse")
	}
	return a.closed(b, call, "model", "input", "stream_format")
}

// readSpeech reads sound: its bytes, or events with pieces of it.
func (a *Adapter) readSpeech(res *http.Response, req *schemas.Request, emit provider.Emit) (*schemas.Response, error) {
	answer := wire.NewAnswer(emit)
	form, body := wire.Other, io.Reader(res.Body) // where nobody says what it is, it is sound
	if res.Header.Get("Content-Type") != "" {
		form, body = wire.Open(res, req.Stream)
	}
	var err error
	switch form {
	case wire.Events:
		err = a.speechStream(body, req, answer)
	case wire.JSON:
		if _, err = a.object(res); err == nil {
			err = wire.Malformed("it is JSON and no sound", nil)
		}
	default:
		err = sound(body, res, req, answer)
	}
	if err != nil {
		return nil, err
	}
	answer.Finish(0, schemas.Finish{Reason: schemas.FinishStop})
	out := answer.Response(req)
	if answer.Err() != nil {
		return nil, answer.Unheard(req)
	}
	out.Media = spokenMedia(out)
	if len(out.Media) == 0 {
		return nil, wire.Malformed("it has no sound", nil)
	}
	out.Warnings = lacking(out.Warnings, "speech.language", req.Speech.Language != "")
	return out, nil
}

// spokenMedia moves the sound of an answer from its message to where sounds that
// were asked for stand.
func spokenMedia(out *schemas.Response) []schemas.Media {
	var all []schemas.Media
	for _, c := range out.Choices {
		for _, p := range c.Message.Parts {
			if p.Media != nil && len(p.Media.Data) > 0 {
				all = append(all, *p.Media)
			}
		}
	}
	out.Choices = nil
	return all
}

// soundPiece is how much sound is passed on at once, in bytes.
const soundPiece = 32 << 10

func sound(body io.Reader, res *http.Response, req *schemas.Request, answer *wire.Answer) error {
	typ := speechType(req.Speech)
	if media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && strings.HasPrefix(media, "audio/") {
		typ = media
	}
	buf := make([]byte, soundPiece)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			answer.MediaPiece(0, schemas.PartAudio, typ, bytes.Clone(buf[:n]))
		}
		switch {
		case answer.Err() != nil:
			return answer.Unheard(req)
		case errors.Is(err, io.EOF):
			u := schemas.Usage{InputTokens: tokens(len(req.Speech.Text)), Source: schemas.UsageEstimated}
			bill(&u, "characters", strconv.Itoa(utf8.RuneCountInString(req.Speech.Text)))
			answer.Use(u)
			return nil
		case err != nil:
			return answer.Broken(req, wire.ReadFailure(err))
		}
	}
}

// speechType is the type of sound that s asks for.
func speechType(s *schemas.SpeechSpec) string {
	switch s.Format {
	case "", "mp3":
		return "audio/mpeg"
	default:
		return "audio/" + s.Format
	}
}

func (a *Adapter) speechStream(from io.Reader, req *schemas.Request, answer *wire.Answer) error {
	events := wire.NewEventReader(from, 0)
	for {
		ev, err := events.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return answer.Interrupted(req, err)
		}
		if err := a.refused(ev.Data); err != nil {
			return answer.Broken(req, schemas.AsFailure(err))
		}
		var typ, data string
		var usage []byte
		c := jsontext.NewCursor(ev.Data)
		if c.Object() {
			for c.Key() {
				switch string(c.Name()) {
				case "type":
					typ = c.Text()
				case "audio":
					data = c.Text()
				case "usage":
					usage = c.Raw()
				default:
					c.Skip()
				}
			}
		}
		piece, err := base64.StdEncoding.DecodeString(data)
		if err = errors.Join(err, c.End()); err != nil {
			return answer.Broken(req, wire.Malformed("an event of it is not as agreed", err))
		}
		if len(piece) > 0 {
			answer.MediaPiece(0, schemas.PartAudio, speechType(req.Speech), piece)
		}
		if typ == "speech.audio.done" {
			if said(usage) {
				a.use(answer, usage, "")
			}
			return nil
		}
		if answer.Err() != nil {
			return answer.Unheard(req)
		}
	}
}
