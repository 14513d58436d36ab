// Package models knows what the main models of the providers take, give and can
// do: a dated catalogue with its sources, and the check whether a model can do
// what a request asks before anything is spent on it.
package models

import (
	_ "embed"
	"slices"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

//go:embed models.yaml
var builtin []byte

// Default returns the built-in catalogue.
func Default() (*Catalogue, error) { return Load(builtin) }

// Capability is something that a model can or can't do beyond taking and giving
// modalities.
type Capability string

// The capabilities.
const (
	Stream      Capability = "stream"
	Tools       Capability = "tools"
	ToolsStream Capability = "tools_stream" // streams answers to requests with tools
	JSON        Capability = "json"         // answers in JSON of any shape
	JSONSchema  Capability = "json_schema"  // answers in a given shape
	Reasoning   Capability = "reasoning"    // thinks before it answers
	PromptCache Capability = "prompt_cache"
	Documents   Capability = "documents" // grounds its answer in documents of the request
	Batch       Capability = "batch"     // through the vendor's batch API
	Prefill     Capability = "prefill"   // goes on from an answer that the request begins
)

// Capabilities returns all capabilities.
func Capabilities() []Capability {
	return []Capability{Stream, Tools, ToolsStream, JSON, JSONSchema, Reasoning, PromptCache, Documents, Batch, Prefill}
}

// What models take and give.
var (
	inputs  = []string{"text", "image", "audio", "video", "file"}
	outputs = []string{"text", "image", "audio", "video", "embedding", "scores"}
)

// Model is what is known of a model at a provider. A zero number and a capability
// that is neither in Can nor in Cannot are not known.
type Model struct {
	Provider   string              `json:"provider"` // a kind of provider
	Model      string              `json:"model"`    // the vendor's name
	Also       []string            `json:"also,omitempty"`
	Operations []schemas.Operation `json:"operations"`
	Input      []string            `json:"input"`                // of text, image, audio, video, file: all that it takes
	Output     []string            `json:"output"`               // of text, image, audio, video, embedding, scores: all that it gives
	Context    int64               `json:"context,omitempty"`    // tokens
	MaxOutput  int64               `json:"max_output,omitempty"` // tokens of one answer
	Can        []Capability        `json:"can,omitempty"`
	Cannot     []Capability        `json:"cannot,omitempty"`
	Deprecated string              `json:"deprecated,omitempty"` // the day from which its vendor advises against it
	Retires    string              `json:"retires,omitempty"`    // the day from which its vendor refuses calls
	ReplacedBy string              `json:"replaced_by,omitempty"`
	Source     []string            `json:"source"` // keys of the catalogue's sources
}

// Does reports whether the model is known to have the capability.
func (m *Model) Does(c Capability) bool { return slices.Contains(m.Can, c) }

// Lacks reports whether the model is known not to have the capability.
func (m *Model) Lacks(c Capability) bool { return slices.Contains(m.Cannot, c) }

// Retired reports whether the vendor refuses calls on the given day, such as
// 2026-11-23.
func (m *Model) Retired(day string) bool { return m.Retires != "" && m.Retires <= day }

// Vendor is what holds for all models of a provider.
type Vendor struct {
	Provider string       `json:"provider"`
	Can      []Capability `json:"can,omitempty"`
	Cannot   []Capability `json:"cannot,omitempty"`
	Source   []string     `json:"source"`
}

// Catalogue is what is known of models. It does not change and is safe for
// concurrent use.
type Catalogue struct {
	Checked string            // the day on which it was last compared with its sources
	Sources map[string]string // what the keys in rows stand for

	models []Model
	byName map[name]*Model
}

type name struct{ provider, model string }

// All returns the models by provider, in the order of the document.
func (c *Catalogue) All() []Model { return slices.Clone(c.models) }

// Find returns the model that a kind of provider has under a name, or nil.
// Gemini's list puts models/ in front of names.
func (c *Catalogue) Find(provider, model string) *Model {
	return c.byName[name{provider, strings.TrimPrefix(model, "models/")}]
}

// Named returns the models with a name, at whatever provider.
func (c *Catalogue) Named(model string) []Model {
	var out []Model
	for i := range c.models {
		if m := &c.models[i]; m.Model == model || slices.Contains(m.Also, model) {
			out = append(out, *m)
		}
	}
	return out
}
