package schemas

import (
	"encoding/json"
	"time"
)

// Status is how a request ended.
type Status string

// The statuses.
const (
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
)

// Result is the one outcome of a request record: an answer or a failure.
type Result struct {
	RequestID     string            `json:"request_id" avro:"request_id"`
	Tenant        string            `json:"tenant" avro:"tenant"`
	Status        Status            `json:"status" avro:"status"`
	Response      *Response         `json:"response,omitempty" avro:"response"` // set when succeeded
	Failure       *Failure          `json:"failure,omitempty" avro:"failure"`   // set when failed
	Op            Operation         `json:"op" avro:"op"`
	Model         string            `json:"model" avro:"model"`                 // as requested
	Target        *Target           `json:"target,omitempty" avro:"target"`     // who answered
	Attempts      []Attempt         `json:"attempts,omitempty" avro:"attempts"` // every call, in order, with its reason
	Cost          Cost              `json:"cost" avro:"cost"`                   // of all attempts together
	Stream        bool              `json:"stream,omitempty" avro:"stream"`
	Route         string            `json:"route,omitempty" avro:"route"` // the rule that matched
	ConfigVersion string            `json:"config_version,omitempty" avro:"config_version"`
	Origin        string            `json:"origin" avro:"origin"` // topic/partition/offset of the request record
	Lane          string            `json:"lane,omitempty" avro:"lane"`
	Labels        map[string]string `json:"labels,omitempty" avro:"labels"`
	Metadata      map[string]string `json:"metadata,omitempty" avro:"metadata"`
	CreatedAt     time.Time         `json:"created_at,omitzero" avro:"created_at,omitzero"` // the request record's timestamp
	StartedAt     time.Time         `json:"started_at,omitzero" avro:"started_at,omitzero"` // when a worker took it up
	CompletedAt   time.Time         `json:"completed_at" avro:"completed_at,omitzero"`
}

// Cost sums up what a request cost.
type Cost struct {
	State CostState `json:"state" avro:"state"`
	Money *Money    `json:"money,omitempty" avro:"money"` // absent when unpriced
}

// Response is a model's answer.
type Response struct {
	UpstreamID    string                     `json:"upstream_id,omitempty" avro:"upstream_id"`                 // the vendor's id of the answer
	UpstreamReqID string                     `json:"upstream_request_id,omitempty" avro:"upstream_request_id"` // the vendor's id of the HTTP request
	Model         string                     `json:"model" avro:"model"`                                       // as the vendor names it
	Choices       []Choice                   `json:"choices" avro:"choices"`
	Usage         Usage                      `json:"usage" avro:"usage"`
	Warnings      []string                   `json:"warnings,omitempty" avro:"warnings"` // what the target could not express
	Ext           map[string]json.RawMessage `json:"ext,omitempty" avro:"ext"`
	Embeddings    []Embedding                `json:"embeddings,omitempty" avro:"embeddings"`
	Ranks         []Rank                     `json:"ranks,omitempty" avro:"ranks"`
	Media         []Media                    `json:"media,omitempty" avro:"media"` // pictures, sound or film, for the operations that make them
	Transcript    *Transcript                `json:"transcript,omitempty" avro:"transcript"`
	Moderations   []Moderation               `json:"moderations,omitempty" avro:"moderations"`
	Models        []ModelInfo                `json:"models,omitempty" avro:"models"`
	Files         []File                     `json:"files,omitempty" avro:"files"`
	Job           *Job                       `json:"job,omitempty" avro:"job"` // of answers that took a vendor's long job
	Safety        []Safety                   `json:"safety,omitempty" avro:"safety"`
}

// Text returns the text of the first choice.
func (r *Response) Text() string {
	if r == nil || len(r.Choices) == 0 {
		return ""
	}
	return r.Choices[0].Message.Text()
}

// Choice is one of the answers to a request.
type Choice struct {
	Index   int     `json:"index" avro:"index"`
	Message Message `json:"message" avro:"message"`
	Finish  Finish  `json:"finish" avro:"finish"`

	LogProbs json.RawMessage `json:"logprobs,omitempty" avro:"logprobs"` // in OpenAI's form: {"content":[{"token","logprob","top_logprobs"}]}
}

// FinishReason says why a model stopped (CANONICAL.md section 6).
type FinishReason string

// The reasons.
const (
	FinishStop          FinishReason = "stop"
	FinishLength        FinishReason = "length"
	FinishToolCalls     FinishReason = "tool_calls"
	FinishContentFilter FinishReason = "content_filter"
	FinishRefusal       FinishReason = "refusal"
	FinishStopSequence  FinishReason = "stop_sequence"
	FinishContextWindow FinishReason = "context_window"
	FinishPause         FinishReason = "pause"
	FinishCancelled     FinishReason = "cancelled"
	FinishError         FinishReason = "error"
	FinishUnknown       FinishReason = "unknown"
)

// Finish says why and how a choice ended.
type Finish struct {
	Reason       FinishReason `json:"reason" avro:"reason"`
	Raw          string       `json:"raw,omitempty" avro:"raw"` // the vendor's word
	StopSequence string       `json:"stop_sequence,omitempty" avro:"stop_sequence"`
	Detail       string       `json:"detail,omitempty" avro:"detail"`
}

// Target is a model at a provider: where a request may go.
type Target struct {
	Provider string `json:"provider" avro:"provider"` // name of the provider in the configuration
	Kind     string `json:"kind,omitempty" avro:"kind"`
	Model    string `json:"model" avro:"model"` // the vendor's name
	Region   string `json:"region,omitempty" avro:"region"`
	Endpoint string `json:"endpoint,omitempty" avro:"endpoint"` // chosen by balance; empty before
}

// Attempt is one call to a provider and how it went.
type Attempt struct {
	Number       int       `json:"number" avro:"number"`         // from 1, over all rounds
	Round        int       `json:"round,omitempty" avro:"round"` // 0 is the first; more after a retry topic
	Target       Target    `json:"target" avro:"target"`
	Reason       string    `json:"reason" avro:"reason"`   // why this call was made: first, retry, fallback
	Outcome      Code      `json:"outcome" avro:"outcome"` // ok or a failure's code
	HTTPStatus   int       `json:"http_status,omitempty" avro:"http_status"`
	VendorCode   string    `json:"vendor_code,omitempty" avro:"vendor_code"`
	Phase        Phase     `json:"phase,omitempty" avro:"phase"`
	RetryAfterMS int64     `json:"retry_after_ms,omitempty" avro:"retry_after_ms"`
	StartedAt    time.Time `json:"started_at" avro:"started_at,omitzero"`
	LatencyMS    int64     `json:"latency_ms" avro:"latency_ms"`
	FirstTokenMS int64     `json:"first_token_ms,omitempty" avro:"first_token_ms"` // 0: none seen
	MaxGapMS     int64     `json:"max_gap_ms,omitempty" avro:"max_gap_ms"`         // longest pause between pieces of a stream
	Usage        Usage     `json:"usage" avro:"usage"`
}

// Chunk is a piece of a streamed answer. Chunks are published as they come,
// outside the transaction: (RequestID, Attempt, Seq) orders them, and the
// Result is what counts.
type Chunk struct {
	RequestID string    `json:"request_id" avro:"request_id"`
	Tenant    string    `json:"tenant,omitempty" avro:"tenant"`
	Attempt   int       `json:"attempt" avro:"attempt"`
	Seq       int64     `json:"seq" avro:"seq"` // from 0 within the attempt
	Type      ChunkType `json:"type" avro:"type"`
	Choice    int       `json:"choice" avro:"choice"`
	PartIndex int       `json:"part_index,omitempty" avro:"part_index"`
	Text      string    `json:"text,omitempty" avro:"text"`
	Signature string    `json:"signature,omitempty" avro:"signature"` // of reasoning
	ToolCall  *ToolCall `json:"tool_call,omitempty" avro:"tool_call"` // for tool_call_start; Arguments is a fragment for tool_call_delta
	Finish    *Finish   `json:"finish,omitempty" avro:"finish"`
	Usage     *Usage    `json:"usage,omitempty" avro:"usage"` // cumulative: the last one counts
	Failure   *Failure  `json:"failure,omitempty" avro:"failure"`
	Model     string    `json:"model,omitempty" avro:"model"` // on start
	ID        string    `json:"id,omitempty" avro:"id"`       // the vendor's, on start
	Media     *Media    `json:"media,omitempty" avro:"media"` // for media_delta: Data is the next piece
	Citation  *Citation `json:"citation,omitempty" avro:"citation"`
	// LogProbs are of this piece, in OpenAI's form.
	LogProbs json.RawMessage `json:"logprobs,omitempty" avro:"logprobs"`
}

// ChunkType says which fields of a Chunk are used.
type ChunkType string

// The types. A stream begins with start and ends with exactly one end.
const (
	ChunkStart         ChunkType = "start"
	ChunkText          ChunkType = "text_delta"
	ChunkReasoning     ChunkType = "reasoning_delta"
	ChunkRefusal       ChunkType = "refusal_delta"
	ChunkToolCallStart ChunkType = "tool_call_start"
	ChunkToolCallDelta ChunkType = "tool_call_delta"
	ChunkMedia         ChunkType = "media_delta"
	ChunkCitation      ChunkType = "citation"
	ChunkFinish        ChunkType = "finish"
	ChunkUsage         ChunkType = "usage"
	ChunkError         ChunkType = "error"
	ChunkEnd           ChunkType = "end"
)
