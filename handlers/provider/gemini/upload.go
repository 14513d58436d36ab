package gemini

import (
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// maxInline is what of the 20 MB of a request its media may take, before base64.
const maxInline = 14 << 20

// Uploads implements [provider.Uploader]. Vertex AI has no files of its own but gets
// what is at an address.
func (a *adapter) Uploads(op schemas.Operation) provider.Uploads {
	if op != schemas.OpChat && op != schemas.OpCountTokens {
		return provider.Uploads{}
	}
	kinds := []schemas.PartKind{schemas.PartImage, schemas.PartAudio, schemas.PartVideo, schemas.PartFile}
	if a.vertex {
		return provider.Uploads{All: maxInline, URLs: kinds}
	}
	return provider.Uploads{All: maxInline, Files: kinds}
}
