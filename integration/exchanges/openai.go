package main

import (
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// openaiVendor reads recordings of OpenAI's API. Others whose API is a copy of it
// are read by [readOpenAI], too.
func openaiVendor() vendor {
	return vendor{
		operation: openaiOperation,
		build: func(x *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
			framed(x)
			c := openai.Defaults
			c.BaseURL, c.APIKey = "http://vendor.test/v1", "key"
			if isConversation(x) {
				c.API = "responses"
			}
			return openai.New(c, catalog.Env{HTTP: client})
		},
		read:    readOpenAI,
		request: likeRecorded,
	}
}

// isConversation reports whether the recording is of the responses API, whose
// errors have a form of their own.
func isConversation(x *exchange) bool {
	if x.Op == opError {
		return x.InStream && (strings.Contains(x.Body, `"sequence_number"`) || strings.Contains(x.Body, `"response.`))
	}
	return strings.HasPrefix(x.Op, "responses") || strings.Contains(x.Request.URL, "/responses")
}

func openaiOperation(x *exchange) schemas.Operation {
	op := named(x, map[string]schemas.Operation{
		"chat": schemas.OpChat, "completions": schemas.OpComplete, "complete": schemas.OpComplete,
		"responses": schemas.OpChat, "responses.get": schemas.OpChat, "responses.create": schemas.OpChat,
		"embeddings": schemas.OpEmbed, "embed": schemas.OpEmbed,
		"moderation": schemas.OpModerate, "moderations": schemas.OpModerate,
		"images.generate": schemas.OpImage, "images": schemas.OpImage, "image.generate": schemas.OpImage,
		"images.edit": schemas.OpImageEdit, "images.variation": schemas.OpImageEdit,
		"audio.speech": schemas.OpSpeech, "audio.transcribe": schemas.OpTranscribe, "audio.translate": schemas.OpTranscribe,
		"models": schemas.OpModels, "models.list": schemas.OpModels,
		"files": schemas.OpFileList, "video": schemas.OpVideo, "videos": schemas.OpVideo,
	})
	path, _, _ := strings.Cut(x.Request.URL, "?")
	switch {
	case x.Op == opError:
	case strings.HasSuffix(path, "/responses/input_tokens"):
		return schemas.OpCountTokens
	case isConversation(x) && !strings.HasSuffix(path, "/responses") && (x.Request.Method != "GET" || strings.HasSuffix(path, "/input_items")):
		return "" // to cancel, compact or delete one
	case op == schemas.OpFileList:
		return fileOperation(x.Request.Method, path)
	case op == schemas.OpModels && !strings.HasSuffix(path, "/models"):
		return "" // of one model
	case op == schemas.OpVideo && (x.Request.Method == "DELETE" || strings.HasSuffix(path, "/remix")):
		return ""
	}
	return op
}

// fileOperation tells what was asked about files by the path.
func fileOperation(method, path string) schemas.Operation {
	_, id, _ := strings.Cut(path, "/files")
	switch {
	case method == "POST" && id == "":
		return schemas.OpFileUpload
	case method == "GET" && id == "":
		return schemas.OpFileList
	case strings.Count(id, "/") != 1:
		return "" // the content of a file
	case method == "DELETE":
		return schemas.OpFileDelete
	case method == "GET":
		return schemas.OpFileGet
	}
	return ""
}

// likeRecorded makes of a sample request what decides how its answer is read.
func likeRecorded(x *exchange, req *schemas.Request) {
	asked, _ := parse(x.requestBody()) // forms and texts are no JSON: nothing is known of them
	if req.Transcribe != nil && (x.Op == "audio.translate" || strings.Contains(x.Request.URL, "/translations")) {
		req.Transcribe.Translate = true
	}
	if n := number(dig(asked, "n")); n > 0 && req.Image != nil {
		req.Image.N = &n
	}
}

// readOpenAI works out what an exchange in OpenAI's form says.
func readOpenAI(x *exchange, op schemas.Operation) (reading, error) {
	body := string(opened(x.body()))
	if x.Response.Status >= 300 {
		return refusal(openaiClass(complaintOf(x.Response.Status, body)))
	}
	switch {
	case op == schemas.OpSpeech:
		return readSpeech(x, body)
	case op == schemas.OpTranscribe:
		return readTranscript(x, body)
	case op == schemas.OpImage || op == schemas.OpImageEdit:
		return readPictures(body)
	case op == schemas.OpChat && isConversation(x):
		return readConversation(x, body)
	case op == schemas.OpChat || op == schemas.OpComplete:
		return readChat(x, body)
	}
	v, err := parse(body)
	if err != nil {
		return unsaid(), err
	}
	if dig(v, "error") != nil {
		return refusal(openaiClass(complaintOf(200, body)))
	}
	r := unsaid()
	switch op {
	case schemas.OpEmbed:
		r.Vectors = len(list(dig(v, "data")))
		if n := number(dig(v, "usage", "prompt_tokens")); n >= 0 {
			r.Input = n
		}
	case schemas.OpModerate:
		r.Moderations = len(list(dig(v, "results")))
	case schemas.OpModels:
		r.Models = len(list(dig(v, "data"))) + len(list(v))
	case schemas.OpFileList:
		r.Files = len(list(dig(v, "data")))
	case schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileDelete:
		r.Files = 1
	case schemas.OpCountTokens:
		r.Input = number(dig(v, "input_tokens"))
	case schemas.OpVideo:
		return readFilm(v)
	}
	return r, nil
}
