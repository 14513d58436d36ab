package gemini

import (
	"encoding/json"
	"path"
	"strings"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// media appends a picture, sound, film or document, or says why it cannot.
func (w *writer) media(m *schemas.Media) string {
	switch {
	case m == nil:
		return "has no media"
	case len(m.Data) > 0 && m.MIME == "":
		return "has data without a mime type"
	case len(m.Data) > 0:
		w.b = append(jsontext.AppendField(w.b, "inlineData"), '{')
		w.b = jsontext.AppendStringField(w.b, "mimeType", m.MIME)
		w.b = jsontext.AppendBase64(jsontext.AppendField(w.b, "data"), "", m.Data)
	case strings.HasPrefix(m.URL, "data:"):
		mime, data, ok := strings.Cut(strings.TrimPrefix(m.URL, "data:"), ";base64,")
		if !ok {
			return "has a data URL that is not in base64"
		}
		w.b = append(jsontext.AppendField(w.b, "inlineData"), '{')
		w.b = jsontext.AppendStringField(w.b, "mimeType", mime)
		w.b = jsontext.AppendString(jsontext.AppendField(w.b, "data"), data)
	default:
		uri := m.URL
		if uri == "" {
			if m.FileID == "" {
				return "has neither data nor a URL nor a file id"
			}
			if m.Provider != "" && m.Provider != vendor {
				return "is a file of another provider: give its data or URL"
			}
			uri = w.a.fileURI(m.FileID)
		}
		mime := mimeOf(m.MIME, uri)
		if mime == "" && w.a.vertex {
			return "has a reference without a mime type"
		}
		w.b = append(jsontext.AppendField(w.b, "fileData"), '{')
		w.b = jsontext.AppendStringField(w.b, "mimeType", mime)
		w.b = jsontext.AppendString(jsontext.AppendField(w.b, "fileUri"), uri)
	}
	w.b = append(w.b, '}')
	return ""
}

// fileURI returns the address of a file, which is what a chat refers to it by.
func (a *adapter) fileURI(id string) string {
	if strings.Contains(id, "://") {
		return id
	}
	return a.at("files/" + strings.TrimPrefix(id, "files/")).String()
}

// mimeOf returns mime, or what the end of an address tells.
func mimeOf(mime, uri string) string {
	if mime != "" {
		return mime
	}
	if strings.Contains(uri, "youtube.com/") || strings.Contains(uri, "youtu.be/") {
		return "video/mp4"
	}
	uri, _, _ = strings.Cut(uri, "?")
	switch strings.ToLower(path.Ext(uri)) {
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".webp":
		return "image/webp"
	case ".heic":
		return "image/heic"
	case ".pdf":
		return "application/pdf"
	case ".txt":
		return "text/plain"
	case ".mp3":
		return "audio/mpeg"
	case ".wav":
		return "audio/wav"
	case ".flac":
		return "audio/flac"
	case ".ogg":
		return "audio/ogg"
	case ".mp4":
		return "video/mp4"
	case ".mov":
		return "video/quicktime"
	case ".webm":
		return "video/webm"
	}
	return ""
}

// kindOf returns the kind of part for a media type.
func kindOf(mime string) schemas.PartKind {
	family, _, _ := strings.Cut(mime, "/")
	switch family {
	case "image":
		return schemas.PartImage
	case "audio":
		return schemas.PartAudio
	case "video":
		return schemas.PartVideo
	}
	return schemas.PartFile
}

// extras is what the schemas have no place for. It goes to Message.Ext, from
// where the parts go back to the vendor in their places.
type extras struct {
	Parts     []ownPart       `json:"parts,omitempty"`
	Grounding json.RawMessage `json:"groundingMetadata,omitempty"`
	URLs      json.RawMessage `json:"urlContextMetadata,omitempty"`
}

// ownPart is a part of a kind that only this vendor has, such as code that it ran.
type ownPart struct {
	At   int             `json:"at"` // how many of the message's parts come before
	Part json.RawMessage `json:"part"`
}

func ownParts(m *schemas.Message) []ownPart {
	var x extras
	if raw := m.Ext[vendor]; len(raw) > 0 {
		_ = json.Unmarshal(raw, &x) // what is none of ours is not sent
	}
	return x.Parts
}

// own appends those of the vendor's own parts whose place is from and less than to.
func (w *writer) own(parts []ownPart, from, to int) {
	for i := range parts {
		if parts[i].At >= from && parts[i].At < to && len(parts[i].Part) > 0 {
			w.b = append(jsontext.AppendItem(w.b), parts[i].Part...)
		}
	}
}
