package cohere

import "github.com/sira-ai/sira/schemas"

// maxRecording is the largest recording that the API takes, by value only.
const maxRecording = 25 << 20

// Inlines implements [provider.Inliner].
func (*adapter) Inlines(op schemas.Operation, _ schemas.PartKind) int64 {
	if op == schemas.OpTranscribe {
		return maxRecording
	}
	return 0
}
