package main

import "github.com/sira-ai/sira/schemas"

// sample returns a request for the operation that every vendor of it can be sent.
func sample(op schemas.Operation, stream bool) *schemas.Request {
	r := &schemas.Request{ID: "exchange", Tenant: "integration", Model: "model", Op: op, Stream: stream}
	text := schemas.Part{Kind: schemas.PartText, Text: "Hello."}
	sound := schemas.Media{MIME: "audio/wav", Data: []byte("RIFF"), Name: "a.wav"}
	picture := schemas.Media{MIME: "image/png", Data: []byte("\x89PNG"), Name: "a.png"}
	switch op {
	case schemas.OpChat, schemas.OpComplete, schemas.OpCountTokens:
		r.Messages = []schemas.Message{schemas.TextMessage(schemas.RoleUser, "Hello.")}
	case schemas.OpEmbed:
		r.Embed = &schemas.EmbedSpec{Inputs: []schemas.Part{text}}
	case schemas.OpRerank:
		r.Rerank = &schemas.RerankSpec{Query: "Hello?", Documents: []schemas.Document{{Text: "Hello."}, {Text: "Bye."}}}
	case schemas.OpModerate:
		r.Moderate = &schemas.ModerateSpec{Inputs: []schemas.Part{text}}
	case schemas.OpImage:
		r.Image = &schemas.ImageSpec{Prompt: "A cat."}
	case schemas.OpImageEdit:
		r.Image = &schemas.ImageSpec{Prompt: "A cat.", Inputs: []schemas.Media{picture}}
	case schemas.OpSpeech:
		r.Speech = &schemas.SpeechSpec{Text: "Hello.", Voice: "alloy"}
	case schemas.OpTranscribe:
		r.Transcribe = &schemas.TranscribeSpec{Audio: sound}
	case schemas.OpVideo:
		r.Video = &schemas.VideoSpec{Prompt: "A cat."}
	case schemas.OpFileUpload:
		r.File = &schemas.FileSpec{Content: &schemas.Media{MIME: "text/plain", Data: []byte("Hello."), Name: "a.txt"}, Purpose: "user_data"}
	case schemas.OpFileGet, schemas.OpFileDelete:
		r.File = &schemas.FileSpec{ID: "file-1"}
	}
	return r
}
