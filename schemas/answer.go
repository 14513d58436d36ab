package schemas

import (
	"encoding/json"
	"time"
)

// Embedding is the vector of one input.
type Embedding struct {
	Index    int       `json:"index" avro:"index"` // place among the inputs
	Vector   []float32 `json:"vector,omitempty" avro:"vector"`
	Packed   []byte    `json:"packed,omitempty" avro:"packed"`     // one byte a dimension (int8, uint8) or eight dimensions a byte (binary, ubinary)
	Encoding string    `json:"encoding,omitempty" avro:"encoding"` // of Packed; empty for Vector
}

// Rank is a document's place in a ranking, best first.
type Rank struct {
	Index    int       `json:"index" avro:"index"` // place among the request's documents
	Score    float64   `json:"score" avro:"score"`
	Document *Document `json:"document,omitempty" avro:"document"`
}

// Transcript is what was said in a recording.
type Transcript struct {
	Text     string              `json:"text" avro:"text"`
	Language string              `json:"language,omitempty" avro:"language"`
	Seconds  float64             `json:"seconds,omitempty" avro:"seconds"`
	Segments []TranscriptSegment `json:"segments,omitempty" avro:"segments"`
}

// TranscriptSegment is a stretch of a Transcript.
type TranscriptSegment struct {
	Start   float64 `json:"start" avro:"start"` // seconds
	End     float64 `json:"end" avro:"end"`
	Text    string  `json:"text" avro:"text"`
	Speaker string  `json:"speaker,omitempty" avro:"speaker"`
}

// Moderation is the verdict on one input.
type Moderation struct {
	Index      int                `json:"index" avro:"index"`
	Flagged    bool               `json:"flagged" avro:"flagged"`
	Categories map[string]bool    `json:"categories,omitempty" avro:"categories"`
	Scores     map[string]float64 `json:"scores,omitempty" avro:"scores"`
}

// ModelInfo is a model as its vendor lists it.
type ModelInfo struct {
	ID            string    `json:"id" avro:"id"`
	Name          string    `json:"name,omitempty" avro:"name"`
	Owner         string    `json:"owner,omitempty" avro:"owner"`
	CreatedAt     time.Time `json:"created_at,omitzero" avro:"created_at,omitzero"`
	ContextTokens int64     `json:"context_tokens,omitempty" avro:"context_tokens"` // 0: not said
	OutputTokens  int64     `json:"output_tokens,omitempty" avro:"output_tokens"`   // 0: not said
	Operations    []string  `json:"operations,omitempty" avro:"operations"`         // ours, where the vendor tells
}

// File is a file that a vendor keeps.
type File struct {
	ID        string    `json:"id" avro:"id"`
	Name      string    `json:"name,omitempty" avro:"name"`
	MIME      string    `json:"mime,omitempty" avro:"mime"`
	Bytes     int64     `json:"bytes,omitempty" avro:"bytes"`
	URL       string    `json:"url,omitempty" avro:"url"`
	State     string    `json:"state,omitempty" avro:"state"` // the vendor's word
	CreatedAt time.Time `json:"created_at,omitzero" avro:"created_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero" avro:"expires_at,omitzero"`
	Deleted   bool      `json:"deleted,omitempty" avro:"deleted"`
}

// JobState is how far a vendor's long job is (CANONICAL.md section 8).
type JobState string

// The states.
const (
	JobQueued    JobState = "queued"
	JobRunning   JobState = "running"
	JobSucceeded JobState = "succeeded"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
	JobExpired   JobState = "expired"
)

// Done reports whether the job has come to its end.
func (s JobState) Done() bool { return s != JobQueued && s != JobRunning }

// Job is work that a vendor does in its own time. A Response whose Job is not
// Done is not an answer yet.
type Job struct {
	ID          string   `json:"id" avro:"id"`
	State       JobState `json:"state" avro:"state"`
	Progress    float64  `json:"progress,omitempty" avro:"progress"`           // 0 to 1, where the vendor tells
	PollAfterMS int64    `json:"poll_after_ms,omitempty" avro:"poll_after_ms"` // the vendor's advice; 0: none
	PollURL     string   `json:"poll_url,omitempty" avro:"poll_url"`           // where to ask, if not derived from the id
	CancelURL   string   `json:"cancel_url,omitempty" avro:"cancel_url"`
}

// Safety is what a vendor's filter says of the prompt or the answer.
type Safety struct {
	Source   string `json:"source" avro:"source"` // prompt or completion
	Category string `json:"category" avro:"category"`
	Severity string `json:"severity,omitempty" avro:"severity"` // the vendor's word
	Filtered bool   `json:"filtered,omitempty" avro:"filtered"` // content was withheld
}

// Citation says where a stretch of text comes from.
type Citation struct {
	Start   int64           `json:"start" avro:"start"` // characters into the text; both 0: not said
	End     int64           `json:"end" avro:"end"`
	Text    string          `json:"text,omitempty" avro:"text"`
	Title   string          `json:"title,omitempty" avro:"title"`
	URL     string          `json:"url,omitempty" avro:"url"`
	Sources []string        `json:"sources,omitempty" avro:"sources"` // ids of documents
	Raw     json.RawMessage `json:"raw,omitempty" avro:"raw"`         // as the vendor said it
}

// Pending reports whether r is not an answer yet but a job that goes on.
func (r *Response) Pending() bool { return r != nil && r.Job != nil && !r.Job.State.Done() }

// Complete reports whether r holds what the operation asks for: choices that say
// why they ended, vectors, pictures and so on.
func (r *Response) Complete(op Operation) bool {
	if r == nil {
		return false
	}
	switch op {
	case OpEmbed:
		return len(r.Embeddings) > 0
	case OpRerank:
		return len(r.Ranks) > 0
	case OpModerate:
		return len(r.Moderations) > 0
	case OpImage, OpImageEdit, OpVideo, OpSpeech:
		return len(r.Media) > 0
	case OpTranscribe:
		return r.Transcript != nil
	case OpFileUpload, OpFileGet, OpFileDelete:
		return len(r.Files) > 0
	case OpCountTokens, OpModels, OpFileList:
		return true // none is an answer too
	}
	for i := range r.Choices {
		if r.Choices[i].Finish.Reason == "" {
			return false
		}
	}
	return len(r.Choices) > 0
}
