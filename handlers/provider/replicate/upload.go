package replicate

import (
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// maxData is how large a data URL may be by the vendor's advice, before base64.
const maxData = 192 << 10

// Uploads implements [provider.Uploader].
func (a *Adapter) Uploads(schemas.Operation) provider.Uploads {
	kinds := []schemas.PartKind{schemas.PartImage, schemas.PartAudio, schemas.PartVideo, schemas.PartFile}
	return provider.Uploads{Each: maxData, Files: kinds, URLs: kinds}
}
