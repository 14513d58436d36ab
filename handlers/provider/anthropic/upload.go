package anthropic

import (
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// maxInline is what of the 32 MB of a request its media may take, before base64.
const maxInline = 22 << 20

// Uploads implements [provider.Uploader].
func (a *adapter) Uploads(op schemas.Operation) provider.Uploads {
	if op != schemas.OpChat && op != schemas.OpCountTokens {
		return provider.Uploads{}
	}
	rule := provider.Uploads{All: maxInline, URLs: []schemas.PartKind{schemas.PartImage}}
	if !a.vertex {
		rule.Files = []schemas.PartKind{schemas.PartImage, schemas.PartFile}
	}
	return rule
}
