package schemas

import "encoding/json"

// Role says who speaks in a message.
type Role string

// The roles.
const (
	RoleSystem    Role = "system"
	RoleDeveloper Role = "developer"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

// Message is one turn of a conversation. Content is always a list of parts;
// adapters flatten it where a vendor wants a string.
type Message struct {
	Role  Role                       `json:"role" avro:"role"`
	Name  string                     `json:"name,omitempty" avro:"name"`
	Parts []Part                     `json:"parts,omitempty" avro:"parts"`
	Ext   map[string]json.RawMessage `json:"ext,omitempty" avro:"ext"`
}

// Text returns the text parts of m joined without a separator.
func (m Message) Text() string {
	if len(m.Parts) == 1 && m.Parts[0].Kind == PartText {
		return m.Parts[0].Text
	}
	var n int
	for i := range m.Parts {
		if m.Parts[i].Kind == PartText {
			n += len(m.Parts[i].Text)
		}
	}
	b := make([]byte, 0, n)
	for i := range m.Parts {
		if m.Parts[i].Kind == PartText {
			b = append(b, m.Parts[i].Text...)
		}
	}
	return string(b)
}

// TextMessage returns a message with one text part.
func TextMessage(role Role, text string) Message {
	return Message{Role: role, Parts: []Part{{Kind: PartText, Text: text}}}
}

// PartKind says which fields of a Part are used.
type PartKind string

// The kinds of part.
const (
	PartText       PartKind = "text"
	PartImage      PartKind = "image"
	PartAudio      PartKind = "audio"
	PartVideo      PartKind = "video"
	PartFile       PartKind = "file"
	PartToolCall   PartKind = "tool_call"
	PartToolResult PartKind = "tool_result"
	PartReasoning  PartKind = "reasoning"
	PartRefusal    PartKind = "refusal"
)

// Part is a piece of content. Kind says which of the other fields count.
type Part struct {
	Kind       PartKind                   `json:"kind" avro:"kind"`
	Text       string                     `json:"text,omitempty" avro:"text"`
	Media      *Media                     `json:"media,omitempty" avro:"media"`
	ToolCall   *ToolCall                  `json:"tool_call,omitempty" avro:"tool_call"`
	ToolResult *ToolResult                `json:"tool_result,omitempty" avro:"tool_result"`
	Reasoning  *Reasoning                 `json:"reasoning,omitempty" avro:"reasoning"`
	Ext        map[string]json.RawMessage `json:"ext,omitempty" avro:"ext"`
	Citations  []Citation                 `json:"citations,omitempty" avro:"citations"`     // sources of Text
	CacheBreak string                     `json:"cache_break,omitempty" avro:"cache_break"` // the prompt up to here is worth caching, for 5m, 1h, …
}

// Media is an image, sound, film or document, by value or by reference: one of
// Data, URL, FileID and Ref is set.
type Media struct {
	MIME     string `json:"mime,omitempty" avro:"mime"`
	Data     []byte `json:"data,omitempty" avro:"data"`
	URL      string `json:"url,omitempty" avro:"url"`
	FileID   string `json:"file_id,omitempty" avro:"file_id"`   // a vendor's file
	Provider string `json:"provider,omitempty" avro:"provider"` // the vendor that knows FileID
	Name     string `json:"name,omitempty" avro:"name"`
	Detail   string `json:"detail,omitempty" avro:"detail"` // low, high or auto, for images
	Ref      string `json:"ref,omitempty" avro:"ref"`       // claim check: the name of an object in the blob store
	Text     string `json:"text,omitempty" avro:"text"`     // what is said or shown, where the vendor tells
}

// ToolCall is a model's wish to call a tool.
type ToolCall struct {
	ID        string `json:"id" avro:"id"`
	Name      string `json:"name" avro:"name"`
	Arguments string `json:"arguments" avro:"arguments"` // JSON text as the model wrote it; may be invalid
	Type      string `json:"type,omitempty" avro:"type"` // function (when empty), custom, or server for a tool that the vendor ran itself
}

// ToolResult answers a ToolCall.
type ToolResult struct {
	CallID  string `json:"call_id" avro:"call_id"`
	Name    string `json:"name,omitempty" avro:"name"`
	Parts   []Part `json:"parts,omitempty" avro:"parts"`
	IsError bool   `json:"is_error,omitempty" avro:"is_error"`
}

// Reasoning is what a model says of its thinking. Signature and Redacted data
// go back to the same vendor unchanged and to no other.
type Reasoning struct {
	Text      string `json:"text,omitempty" avro:"text"`
	Signature string `json:"signature,omitempty" avro:"signature"`
	Redacted  bool   `json:"redacted,omitempty" avro:"redacted"` // Signature holds opaque data instead of text
	ID        string `json:"id,omitempty" avro:"id"`
}
