package together

import "github.com/sira-ai/sira/schemas"

// Inlines implements [provider.Inliner]: recordings may be given by URL, as OpenAI does
// not take them.
func (a *adapter) Inlines(op schemas.Operation, kind schemas.PartKind) int64 {
	if op == schemas.OpTranscribe || op == schemas.OpVideo {
		return 0
	}
	return a.Adapter.Inlines(op, kind)
}
