package openai

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// encodeTranscription asks for the words of a recording.
func (a *Adapter) encodeTranscription(ctx context.Context, call provider.Call) (*http.Request, error) {
	t := call.Request.Transcribe
	if len(t.Audio.Data) == 0 {
		return nil, wire.Unsupported("transcribe.audio", "is by reference: give its data")
	}
	path := pathTranscribe
	form := wire.NewForm()
	form.File("file", &t.Audio, "audio"+extension(t.Audio.MIME))
	form.Field("model", call.Model)
	form.Field("prompt", t.Prompt)
	if t.Temperature != nil {
		form.Field("temperature", strconv.FormatFloat(*t.Temperature, 'f', -1, 64))
	}
	if t.Translate {
		path = pathTranslate
	} else {
		form.Field("language", t.Language)
	}
	switch t.Timestamps {
	case "":
	case "word", "segment":
		form.Field("response_format", "verbose_json")
		if !t.Translate {
			form.Field("timestamp_granularities[]", t.Timestamps)
		}
	default:
		return nil, wire.Unsupported("transcribe.timestamps", "is neither word nor segment")
	}
	if call.Request.Stream && !t.Translate {
		form.Field("stream", "true")
	}
	if err := a.ownFields(form, call, "model", "file", "stream"); err != nil {
		return nil, err
	}
	return a.PostForm(ctx, call, path, form)
}

// extension is the end of a file's name by its type, which the API judges files
// by.
func extension(typ string) string {
	switch typ {
	case "audio/mpeg", "audio/mp3":
		return ".mp3"
	case "audio/mp4", "audio/m4a", "audio/x-m4a":
		return ".m4a"
	case "audio/ogg", "audio/opus":
		return ".ogg"
	case "audio/webm", "video/webm":
		return ".webm"
	case "audio/flac", "audio/x-flac":
		return ".flac"
	case "video/mp4":
		return ".mp4"
	}
	return ".wav"
}

// readTranscript reads words: JSON in three degrees of detail, plain text, or
// events.
func (a *Adapter) readTranscript(res *http.Response, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	form, body := wire.Open(res, req.Stream)
	if form == wire.Events {
		return a.transcriptStream(body, req, answer)
	}
	whole, err := wire.ReadAll(body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	var t transcript
	typ, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case form == wire.JSON && (typ != "" || looksLikeJSON(whole)):
		if err := a.refused(whole); err != nil {
			return nil, err
		}
		if err := t.parse(whole); err != nil {
			return nil, wire.Malformed("it is not the JSON of a transcript", err)
		}
		if !t.told {
			return nil, wire.Malformed("it has no text", nil)
		}
	case typ != "" && !strings.HasPrefix(typ, "text/") && typ != "application/x-subrip" || typ == "text/html":
		return nil, wire.Malformed("its content type is neither JSON, text nor an event stream", nil)
	default:
		t.Text = strings.TrimRight(string(whole), "\n")
	}
	answer.Text(0, t.Text)
	return a.transcribed(&t, req, answer)
}

func looksLikeJSON(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) > 0 && b[0] == '{'
}

func (a *Adapter) transcriptStream(from io.Reader, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	var all transcript
	for {
		ev, err := events.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, answer.Interrupted(req, err)
		}
		if err := a.refused(ev.Data); err != nil {
			return nil, answer.Broken(req, schemas.AsFailure(err))
		}
		var t transcript
		if err := t.parse(ev.Data); err != nil {
			return nil, answer.Broken(req, wire.Malformed("an event of it is not JSON as agreed", err))
		}
		switch t.event {
		case "transcript.text.delta":
			answer.Text(0, t.delta)
			all.delta += t.delta
		case "transcript.text.segment":
			all.Segments = append(all.Segments, t.alone)
		case "transcript.text.done":
			all.Text, all.usage = t.Text, t.usage
			if all.delta == "" {
				answer.Text(0, t.Text)
			}
			return a.transcribed(&all, req, answer)
		}
		if answer.Err() != nil {
			return nil, answer.Unheard(req)
		}
	}
}

// transcribed returns the answer that t is. Its text was passed on as that of a
// choice.
func (a *Adapter) transcribed(t *transcript, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	switch {
	case said(t.usage):
		a.use(answer, t.usage, "")
	case t.Seconds > 0:
		u := schemas.Usage{Source: schemas.UsageReported}
		bill(&u, "seconds", strconv.FormatFloat(t.Seconds, 'f', -1, 64))
		answer.Use(u)
	}
	answer.Finish(0, schemas.Finish{Reason: schemas.FinishStop})
	out := answer.Response(req)
	if answer.Err() != nil {
		return nil, answer.Unheard(req)
	}
	out.Choices = nil
	out.Transcript = &t.Transcript
	if req.Transcribe != nil && req.Transcribe.Timestamps == "word" && len(t.words) > 0 || len(t.Segments) == 0 {
		out.Transcript.Segments = t.words
	}
	if t := req.Transcribe; t.Translate {
		out.Warnings = lacking(out.Warnings, "transcribe.language", t.Language != "")
	}
	return out, nil
}
