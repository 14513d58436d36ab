package schemas

import (
	"slices"
	"strings"
)

// Operation names what is asked of a model.
type Operation string

// The operations. An adapter refuses those that its vendor lacks.
const (
	OpChat        Operation = "chat"
	OpComplete    Operation = "complete" // a text goes on; the messages' text is the prompt
	OpEmbed       Operation = "embed"
	OpRerank      Operation = "rerank"
	OpModerate    Operation = "moderate"
	OpImage       Operation = "image.generate"
	OpImageEdit   Operation = "image.edit"
	OpSpeech      Operation = "audio.speech"
	OpTranscribe  Operation = "audio.transcribe"
	OpVideo       Operation = "video.generate"
	OpCountTokens Operation = "count_tokens" // of what a chat would send; the answer is Usage.InputTokens
	OpModels      Operation = "model.list"
	OpFileUpload  Operation = "file.upload"
	OpFileGet     Operation = "file.get"
	OpFileList    Operation = "file.list"
	OpFileDelete  Operation = "file.delete"
)

// Operations returns all operations, chat first.
func Operations() []Operation {
	return []Operation{
		OpChat, OpComplete, OpEmbed, OpRerank, OpModerate, OpImage, OpImageEdit, OpSpeech, OpTranscribe,
		OpVideo, OpCountTokens, OpModels, OpFileUpload, OpFileGet, OpFileList, OpFileDelete,
	}
}

// EmbedSpec asks for vectors.
type EmbedSpec struct {
	Inputs     []Part `json:"inputs" avro:"inputs"` // texts or media, one vector each
	Dimensions *int64 `json:"dimensions,omitempty" avro:"dimensions"`
	Encoding   string `json:"encoding,omitempty" avro:"encoding"` // float (default), int8, uint8, binary or ubinary
	Task       string `json:"task,omitempty" avro:"task"`         // query, document, classification, clustering or similarity
	Truncate   string `json:"truncate,omitempty" avro:"truncate"` // none, start or end; empty leaves it to the vendor
}

// RerankSpec asks for documents in order of how well they answer a query.
type RerankSpec struct {
	Query           string     `json:"query" avro:"query"`
	Documents       []Document `json:"documents" avro:"documents"`
	TopN            *int64     `json:"top_n,omitempty" avro:"top_n"`
	ReturnDocuments bool       `json:"return_documents,omitempty" avro:"return_documents"`
	MaxTokens       *int64     `json:"max_tokens_per_document,omitempty" avro:"max_tokens_per_document"`
}

// Document is a text to rank or to ground an answer in.
type Document struct {
	ID    string            `json:"id,omitempty" avro:"id"`
	Title string            `json:"title,omitempty" avro:"title"`
	Text  string            `json:"text" avro:"text"`
	Data  map[string]string `json:"data,omitempty" avro:"data"` // further fields, for vendors that read them
}

// ImageSpec asks for pictures, new ones or changed ones.
type ImageSpec struct {
	Prompt      string   `json:"prompt,omitempty" avro:"prompt"`
	Negative    string   `json:"negative_prompt,omitempty" avro:"negative_prompt"`
	N           *int64   `json:"n,omitempty" avro:"n"`
	Width       *int64   `json:"width,omitempty" avro:"width"` // pixels
	Height      *int64   `json:"height,omitempty" avro:"height"`
	Size        string   `json:"size,omitempty" avro:"size"` // the vendor's word, such as 1024x1024, auto or 2K
	AspectRatio string   `json:"aspect_ratio,omitempty" avro:"aspect_ratio"`
	Quality     string   `json:"quality,omitempty" avro:"quality"`
	Style       string   `json:"style,omitempty" avro:"style"`
	Format      string   `json:"format,omitempty" avro:"format"` // png, jpeg or webp
	Background  string   `json:"background,omitempty" avro:"background"`
	Steps       *int64   `json:"steps,omitempty" avro:"steps"`
	Guidance    *float64 `json:"guidance,omitempty" avro:"guidance"`
	Strength    *float64 `json:"strength,omitempty" avro:"strength"` // how far an edit may leave its input, 0 to 1
	Seed        *int64   `json:"seed,omitempty" avro:"seed"`
	Inputs      []Media  `json:"inputs,omitempty" avro:"inputs"` // pictures to change
	Mask        *Media   `json:"mask,omitempty" avro:"mask"`
	ReturnAs    string   `json:"return_as,omitempty" avro:"return_as"` // data or url; empty leaves it to the vendor
}

// SpeechSpec asks for a text to be spoken.
type SpeechSpec struct {
	Text         string   `json:"text" avro:"text"`
	Voice        string   `json:"voice,omitempty" avro:"voice"`
	Format       string   `json:"format,omitempty" avro:"format"` // mp3, wav, opus, …
	Speed        *float64 `json:"speed,omitempty" avro:"speed"`
	Instructions string   `json:"instructions,omitempty" avro:"instructions"`
	Language     string   `json:"language,omitempty" avro:"language"`
}

// TranscribeSpec asks for the words of a recording.
type TranscribeSpec struct {
	Audio       Media    `json:"audio" avro:"audio"`
	Language    string   `json:"language,omitempty" avro:"language"`
	Prompt      string   `json:"prompt,omitempty" avro:"prompt"`
	Translate   bool     `json:"translate,omitempty" avro:"translate"`     // into English
	Timestamps  string   `json:"timestamps,omitempty" avro:"timestamps"`   // word or segment
	Temperature *float64 `json:"temperature,omitempty" avro:"temperature"` //
}

// VideoSpec asks for a film.
type VideoSpec struct {
	Prompt      string   `json:"prompt,omitempty" avro:"prompt"`
	Negative    string   `json:"negative_prompt,omitempty" avro:"negative_prompt"`
	Seconds     *float64 `json:"seconds,omitempty" avro:"seconds"`
	Size        string   `json:"size,omitempty" avro:"size"`
	AspectRatio string   `json:"aspect_ratio,omitempty" avro:"aspect_ratio"`
	Seed        *int64   `json:"seed,omitempty" avro:"seed"`
	Inputs      []Media  `json:"inputs,omitempty" avro:"inputs"` // pictures or films to begin with
}

// ModerateSpec asks whether content is harmful.
type ModerateSpec struct {
	Inputs []Part `json:"inputs" avro:"inputs"` // texts or images
}

// FileSpec names or holds a file for the file operations.
type FileSpec struct {
	ID      string `json:"id,omitempty" avro:"id"`           // the vendor's id: get, delete
	Content *Media `json:"content,omitempty" avro:"content"` // upload
	Purpose string `json:"purpose,omitempty" avro:"purpose"` // the vendor's word: upload, list
}

// CacheSpec steers the vendor's prompt cache.
type CacheSpec struct {
	Key string `json:"key,omitempty" avro:"key"` // requests with equal keys share a prefix
	TTL string `json:"ttl,omitempty" avro:"ttl"` // 5m, 1h, 24h, …: the vendor's own steps
}

func (r *Request) validateOperation() error {
	op := r.Operation()
	missing := func(field string) error { return invalid(field, "is missing: "+string(op)+" needs it") }
	switch op {
	case OpChat, OpComplete, OpCountTokens:
		return r.validateChat()
	case OpEmbed:
		if r.Embed == nil || len(r.Embed.Inputs) == 0 {
			return missing("embed.inputs")
		}
		return partFaults("embed.inputs", r.Embed.Inputs)
	case OpRerank:
		if r.Rerank == nil || r.Rerank.Query == "" || len(r.Rerank.Documents) == 0 {
			return missing("rerank.query and rerank.documents")
		}
	case OpModerate:
		if r.Moderate == nil || len(r.Moderate.Inputs) == 0 {
			return missing("moderate.inputs")
		}
		return partFaults("moderate.inputs", r.Moderate.Inputs)
	case OpImage, OpImageEdit:
		if r.Image == nil || (r.Image.Prompt == "" && len(r.Image.Inputs) == 0) {
			return missing("image.prompt or image.inputs")
		}
	case OpSpeech:
		if r.Speech == nil || r.Speech.Text == "" {
			return missing("speech.text")
		}
	case OpTranscribe:
		if r.Transcribe == nil || !r.Transcribe.Audio.given() {
			return missing("transcribe.audio")
		}
	case OpVideo:
		if r.Video == nil || (r.Video.Prompt == "" && len(r.Video.Inputs) == 0) {
			return missing("video.prompt or video.inputs")
		}
	case OpModels, OpFileList:
	case OpFileUpload:
		if r.File == nil || r.File.Content == nil || !r.File.Content.given() {
			return missing("file.content")
		}
	case OpFileGet, OpFileDelete:
		if r.File == nil || r.File.ID == "" {
			return missing("file.id")
		}
	}
	return nil
}

// ModeBatch as a Request's Mode lets it wait for the vendor's batch API.
const ModeBatch = "batch"

func operationNames() string {
	names := make([]string, 0, len(Operations()))
	for _, op := range Operations() {
		names = append(names, string(op))
	}
	return strings.Join(names, ", ")
}

func knownOperation(op Operation) bool { return slices.Contains(Operations(), op) }

func (m *Media) given() bool {
	return len(m.Data) > 0 || m.URL != "" || m.FileID != "" || m.Ref != ""
}
