package stability

import "github.com/sira-ai/sira/schemas"

// maxPicture is the largest request that the API takes: pictures go in forms.
const maxPicture = 10 << 20

// Inlines implements [provider.Inliner].
func (*Adapter) Inlines(_ schemas.Operation, _ schemas.PartKind) int64 { return maxPicture }
