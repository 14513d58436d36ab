package schemas

import (
	"encoding/json"
	"fmt"
	"time"
)

// Request is one inference request in Sira's own form, the same for every
// vendor. Pointers mark optional scalars, so that unset and zero differ.
type Request struct {
	ID             string                     `json:"id" avro:"id"`                                         // chosen by the producer; also the idempotency key sent to providers
	Tenant         string                     `json:"tenant" avro:"tenant"`                                 // who is served and billed
	ConversationID string                     `json:"conversation_id,omitempty" avro:"conversation_id"`     // requests that belong together
	Labels         map[string]string          `json:"labels,omitempty" avro:"labels"`                       // team, project, user, key, …: for allocation and rules
	Op             Operation                  `json:"op,omitempty" avro:"op"`                               // empty means chat
	Model          string                     `json:"model" avro:"model"`                                   // a name under models: in the configuration
	Messages       []Message                  `json:"messages,omitempty" avro:"messages"`                   // system messages stay in order; adapters hoist them
	Tools          []Tool                     `json:"tools,omitempty" avro:"tools"`                         //
	ToolChoice     *ToolChoice                `json:"tool_choice,omitempty" avro:"tool_choice"`             //
	Output         *OutputSpec                `json:"output,omitempty" avro:"output"`                       //
	Sampling       *Sampling                  `json:"sampling,omitempty" avro:"sampling"`                   //
	MaxTokens      *int64                     `json:"max_output_tokens,omitempty" avro:"max_output_tokens"` //
	Thinking       *ThinkingSpec              `json:"thinking,omitempty" avro:"thinking"`                   //
	Stream         bool                       `json:"stream,omitempty" avro:"stream"`                       // publish chunks as they arrive
	Deadline       time.Time                  `json:"deadline,omitzero" avro:"deadline,omitzero"`           // after it the request is answered expired; zero: the lane's limit
	CreatedAt      time.Time                  `json:"created_at,omitzero" avro:"created_at,omitzero"`       // by the producer's clock
	ReplyTo        string                     `json:"reply_to,omitempty" avro:"reply_to"`                   // result topic, if the configuration allows it
	EndUser        string                     `json:"end_user,omitempty" avro:"end_user"`                   // opaque id passed to vendors for abuse detection
	Metadata       map[string]string          `json:"metadata,omitempty" avro:"metadata"`                   // returned with the result, never read
	Ext            map[string]json.RawMessage `json:"ext,omitempty" avro:"ext"`                             // provider kind -> fields for that vendor only
	Documents      []Document                 `json:"documents,omitempty" avro:"documents"`                 // to ground the answer in
	Cache          *CacheSpec                 `json:"cache,omitempty" avro:"cache"`                         //
	ServiceTier    string                     `json:"service_tier,omitempty" avro:"service_tier"`           // the vendor's word: flex, priority, …
	Mode           string                     `json:"mode,omitempty" avro:"mode"`                           // batch: through the vendor's batch API, at its price; empty: at once
	Embed          *EmbedSpec                 `json:"embed,omitempty" avro:"embed"`                         // for embed
	Rerank         *RerankSpec                `json:"rerank,omitempty" avro:"rerank"`                       // for rerank
	Image          *ImageSpec                 `json:"image,omitempty" avro:"image"`                         // for image.generate and image.edit
	Speech         *SpeechSpec                `json:"speech,omitempty" avro:"speech"`                       // for audio.speech
	Transcribe     *TranscribeSpec            `json:"transcribe,omitempty" avro:"transcribe"`               // for audio.transcribe
	Video          *VideoSpec                 `json:"video,omitempty" avro:"video"`                         // for video.generate
	Moderate       *ModerateSpec              `json:"moderate,omitempty" avro:"moderate"`                   // for moderate
	File           *FileSpec                  `json:"file,omitempty" avro:"file"`                           // for the file operations
}

// Tool is a function that the model may call.
type Tool struct {
	Name        string                     `json:"name" avro:"name"`
	Description string                     `json:"description,omitempty" avro:"description"`
	Parameters  json.RawMessage            `json:"parameters,omitempty" avro:"parameters"` // JSON Schema
	Strict      *bool                      `json:"strict,omitempty" avro:"strict"`
	Ext         map[string]json.RawMessage `json:"ext,omitempty" avro:"ext"`
}

// ToolChoice restricts which tools the model calls.
type ToolChoice struct {
	Mode            string   `json:"mode" avro:"mode"`             // auto, none, required or named
	Names           []string `json:"names,omitempty" avro:"names"` // for named
	DisableParallel bool     `json:"disable_parallel,omitempty" avro:"disable_parallel"`
}

// OutputSpec asks for a form of the answer.
type OutputSpec struct {
	Format string          `json:"format" avro:"format"` // text, json or json_schema
	Schema json.RawMessage `json:"schema,omitempty" avro:"schema"`
	Name   string          `json:"name,omitempty" avro:"name"`
	Strict *bool           `json:"strict,omitempty" avro:"strict"`
	// Modalities are what the answer may hold: text, image, audio; empty leaves
	// it to the model.
	Modalities []string `json:"modalities,omitempty" avro:"modalities"`
	Voice      string   `json:"voice,omitempty" avro:"voice"` // of spoken answers
	Audio      string   `json:"audio_format,omitempty" avro:"audio_format"`
}

// Sampling holds the knobs of token sampling.
type Sampling struct {
	Temperature      *float64 `json:"temperature,omitempty" avro:"temperature"`
	TopP             *float64 `json:"top_p,omitempty" avro:"top_p"`
	TopK             *int64   `json:"top_k,omitempty" avro:"top_k"`
	FrequencyPenalty *float64 `json:"frequency_penalty,omitempty" avro:"frequency_penalty"`
	PresencePenalty  *float64 `json:"presence_penalty,omitempty" avro:"presence_penalty"`
	Seed             *int64   `json:"seed,omitempty" avro:"seed"`
	N                *int64   `json:"n,omitempty" avro:"n"`
	Stop             []string `json:"stop,omitempty" avro:"stop"`

	MinP              *float64           `json:"min_p,omitempty" avro:"min_p"`
	RepetitionPenalty *float64           `json:"repetition_penalty,omitempty" avro:"repetition_penalty"`
	LogProbs          *int64             `json:"logprobs,omitempty" avro:"logprobs"` // alternatives per token; 0: of the chosen tokens only
	LogitBias         map[string]float64 `json:"logit_bias,omitempty" avro:"logit_bias"`
}

// ThinkingSpec steers models that reason before they answer.
type ThinkingSpec struct {
	Effort       string `json:"effort,omitempty" avro:"effort"` // none, minimal, low, medium, high, …
	BudgetTokens *int64 `json:"budget_tokens,omitempty" avro:"budget_tokens"`
	Enabled      *bool  `json:"enabled,omitempty" avro:"enabled"`
}

// Operation returns Op, or chat where it is empty.
func (r *Request) Operation() Operation {
	if r.Op == "" {
		return OpChat
	}
	return r.Op
}

// Validate reports why r can never be answered, as a [*Failure] with code
// invalid_request or unsupported that names the field, or nil. It looks at the
// form only: whether the model exists is for routing to say.
func (r *Request) Validate() error {
	switch {
	case r.ID == "":
		return invalid("id", "is missing: give every request an id, such as a UUIDv7")
	case len(r.ID) > MaxIDLength:
		return invalid("id", fmt.Sprintf("is longer than %d bytes", MaxIDLength))
	case r.Tenant == "":
		return invalid("tenant", "is missing: name the tenant that is served and billed")
	case len(r.Tenant) > MaxIDLength:
		return invalid("tenant", fmt.Sprintf("is longer than %d bytes", MaxIDLength))
	case r.Model == "":
		return invalid("model", "is missing: name a model of the configuration")
	case len(r.Model) > MaxIDLength:
		return invalid("model", fmt.Sprintf("is longer than %d bytes", MaxIDLength))
	case len(r.Labels) > MaxLabels:
		return invalid("labels", fmt.Sprintf("has more than %d entries", MaxLabels))
	case len(r.ReplyTo) > 249: // Kafka's limit for a topic name
		return invalid("reply_to", "is longer than 249 bytes")
	}
	for k, v := range r.Labels {
		if len(k) > MaxIDLength || len(v) > MaxIDLength {
			return invalid("labels", fmt.Sprintf("has a key or value longer than %d bytes", MaxIDLength))
		}
	}
	switch {
	case r.Mode != "" && r.Mode != ModeBatch:
		return invalid("mode", "is not batch or empty")
	case r.Mode == ModeBatch && r.Stream:
		return invalid("stream", "is not for mode batch, whose answers come all at once")
	}
	if op := r.Operation(); !knownOperation(op) {
		f := invalid("op", "is not one of: "+operationNames())
		f.Code = Unsupported
		return f
	}
	for k, v := range r.Ext {
		if !json.Valid(v) {
			return invalid("ext."+k, "is not JSON")
		}
	}
	return r.validateOperation()
}

func (r *Request) validateChat() error {
	if len(r.Messages) == 0 {
		return invalid("messages", "is empty: a chat needs at least one message")
	}
	for i := range r.Messages {
		m := &r.Messages[i]
		switch m.Role {
		case RoleSystem, RoleDeveloper, RoleUser, RoleAssistant, RoleTool:
		default:
			return invalid(fmt.Sprintf("messages[%d].role", i), "is not one of: system, developer, user, assistant, tool")
		}
		for j := range m.Parts {
			if why := m.Parts[j].fault(); why != "" {
				return invalid(fmt.Sprintf("messages[%d].parts[%d]", i, j), why)
			}
		}
	}
	for i := range r.Tools {
		if r.Tools[i].Name == "" {
			return invalid(fmt.Sprintf("tools[%d].name", i), "is missing")
		}
		if p := r.Tools[i].Parameters; len(p) > 0 && !json.Valid(p) {
			return invalid(fmt.Sprintf("tools[%d].parameters", i), "is not JSON")
		}
	}
	if r.Output != nil && len(r.Output.Schema) > 0 && !json.Valid(r.Output.Schema) {
		return invalid("output.schema", "is not JSON")
	}
	if r.MaxTokens != nil && *r.MaxTokens < 0 {
		return invalid("max_output_tokens", "is negative")
	}
	return nil
}

func partFaults(field string, parts []Part) error {
	for i := range parts {
		if why := parts[i].fault(); why != "" {
			return invalid(fmt.Sprintf("%s[%d]", field, i), why)
		}
	}
	return nil
}

// fault says what is wrong with the form of p, or "".
func (p *Part) fault() string {
	switch p.Kind {
	case PartText, PartRefusal:
		return ""
	case PartImage, PartAudio, PartVideo, PartFile:
		if p.Media == nil || !p.Media.given() {
			return "has no media.data, media.url, media.file_id or media.ref"
		}
	case PartToolCall:
		if p.ToolCall == nil || p.ToolCall.Name == "" {
			return "has no tool_call.name"
		}
	case PartToolResult:
		if p.ToolResult == nil || p.ToolResult.CallID == "" {
			return "has no tool_result.call_id"
		}
		for i := range p.ToolResult.Parts {
			if k := p.ToolResult.Parts[i].Kind; k == PartToolResult || k == PartToolCall {
				return "nests a tool call in a tool result"
			}
			if why := p.ToolResult.Parts[i].fault(); why != "" {
				return why
			}
		}
	case PartReasoning:
		if p.Reasoning == nil {
			return "has no reasoning"
		}
	default:
		return "has a kind that is not one of: text, image, audio, video, file, tool_call, tool_result, reasoning, refusal"
	}
	return ""
}

func invalid(param, why string) *Failure {
	return &Failure{Code: InvalidRequest, Param: param, Message: param + " " + why}
}
