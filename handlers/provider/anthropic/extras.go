package anthropic

import (
	"bytes"
	"encoding/json"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// extras is what the schemas have no place for. It goes to Message.Ext, and with
// the message back to the vendor, who wants it unchanged.
type extras struct {
	Blocks  []placed                   `json:"blocks,omitempty"`  // of types that the schemas don't have
	Callers map[string]json.RawMessage `json:"callers,omitempty"` // which tool made a call, by the call's id
	// Not sent back: what the answer says of itself.
	Container  json.RawMessage `json:"container,omitempty"`
	Stop       json.RawMessage `json:"stop_details,omitempty"`
	Management json.RawMessage `json:"context_management,omitempty"`
}

// placed is a block and the number of the message's parts before it.
type placed struct {
	At    int             `json:"at"`
	Block json.RawMessage `json:"block"`
}

func (x *extras) empty() bool {
	return len(x.Blocks) == 0 && len(x.Callers) == 0 && x.Container == nil && x.Stop == nil && x.Management == nil
}

// ownOf returns the extras of an earlier answer. It is nil where there are none.
func ownOf(m *schemas.Message) *extras {
	raw := m.Ext[vendor]
	if len(raw) == 0 {
		return nil
	}
	x := new(extras)
	if json.Unmarshal(raw, x) != nil {
		return nil
	}
	return x
}

// blocks appends the blocks with at most so many parts before them that were not
// appended yet.
func (x *extras) blocks(b []byte, at int) []byte {
	for x != nil && len(x.Blocks) > 0 && x.Blocks[0].At <= at {
		if raw := bytes.TrimSpace(x.Blocks[0].Block); len(raw) > 0 && raw[0] == '{' {
			b = append(jsontext.AppendItem(b), raw...)
		}
		x.Blocks = x.Blocks[1:]
	}
	return b
}

// caller returns who made a call, where that was not the model itself.
func (x *extras) caller(id string) json.RawMessage {
	if x == nil {
		return nil
	}
	return x.Callers[id]
}
