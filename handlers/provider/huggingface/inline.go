package huggingface

import "github.com/sira-ai/sira/schemas"

// maxMedia is the largest body that an inference endpoint takes by default.
const maxMedia = 25 << 20

// Inlines implements [provider.Inliner]: recordings and pictures to change are sent as
// they are.
func (*Adapter) Inlines(op schemas.Operation, _ schemas.PartKind) int64 {
	if op == schemas.OpTranscribe || op == schemas.OpImageEdit {
		return maxMedia
	}
	return 0
}
