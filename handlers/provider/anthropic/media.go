package anthropic

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// pictures are the images that the API takes.
var pictures = []string{"image/jpeg", "image/png", "image/gif", "image/webp"}

// appendMedia appends an image or a document, or says why it cannot. Documents are
// PDFs, texts and files that the vendor keeps.
func appendMedia(b []byte, p *schemas.Part) ([]byte, string) {
	m := p.Media
	image := p.Kind == schemas.PartImage || strings.HasPrefix(mimeOf(m), "image/")
	kind := `{"type":"document","source":`
	if image {
		kind = `{"type":"image","source":`
	}
	b, why := source(append(b, kind...), m, image)
	if !image {
		b = jsontext.AppendStringField(b, "title", m.Name)
	}
	return finishBlock(b, p), why
}

// mimeOf returns the type of m, of which a data URL tells itself.
func mimeOf(m *schemas.Media) string {
	mime := m.MIME
	if rest, isData := strings.CutPrefix(m.URL, "data:"); isData && mime == "" {
		mime, _, _ = strings.Cut(rest, ",")
	}
	mime, _, _ = strings.Cut(mime, ";")
	return strings.ToLower(mime)
}

// source appends where an image or document comes from.
func source(b []byte, m *schemas.Media, image bool) ([]byte, string) {
	mime := mimeOf(m)
	switch {
	case len(m.Data) > 0 && mime == "":
		return b, "has data without a mime type"
	case len(m.Data) > 0 && textual(mime, image):
		return appendPlain(b, m.Data)
	case len(m.Data) > 0:
		if why := unreadable(mime, image); why != "" {
			return b, why
		}
		b = jsontext.AppendString(append(b, `{"type":"base64","media_type":`...), mime)
		b = jsontext.AppendBase64(jsontext.AppendField(b, "data"), "", m.Data)
	case strings.HasPrefix(m.URL, "data:"):
		return dataURL(b, m.URL, mime, image)
	case m.URL != "":
		b = jsontext.AppendString(append(b, `{"type":"url","url":`...), m.URL)
	case m.FileID == "":
		return b, "has neither data nor a URL nor a file id"
	case m.Provider != "" && m.Provider != vendor:
		return b, "is a file of another provider: give its data or URL"
	default:
		b = jsontext.AppendString(append(b, `{"type":"file","file_id":`...), m.FileID)
	}
	return append(b, '}'), ""
}

// textual reports whether data of a type goes as text: the API takes no type but
// plain text, in which the others can be read as well.
func textual(mime string, image bool) bool {
	if image {
		return false
	}
	return strings.HasPrefix(mime, "text/") || strings.HasSuffix(mime, "+json") || strings.HasSuffix(mime, "+xml") ||
		slices.Contains([]string{"application/json", "application/xml", "application/yaml", "application/x-yaml"}, mime)
}

func unreadable(mime string, image bool) string {
	switch {
	case image && !slices.Contains(pictures, mime):
		return "is not of one of the types that this provider takes: " + strings.Join(pictures, ", ")
	case !image && mime != "application/pdf":
		return "is neither a PDF nor a text, which is what this provider takes for documents"
	}
	return ""
}

func appendPlain(b, data []byte) ([]byte, string) {
	if !utf8.Valid(data) {
		return b, "is a text that is not in UTF-8"
	}
	b = jsontext.AppendString(append(b, `{"type":"text","media_type":"text/plain","data":`...), string(data))
	return append(b, '}'), ""
}

// dataURL appends what a data URL holds: the API does not read those.
func dataURL(b []byte, u, mime string, image bool) ([]byte, string) {
	_, data, ok := strings.Cut(u, ";base64,")
	if !ok {
		return b, "has a data URL that is not in base64"
	}
	if textual(mime, image) {
		said, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return b, "has a data URL that is not in base64"
		}
		return appendPlain(b, said)
	}
	if why := unreadable(mime, image); why != "" {
		return b, why
	}
	b = jsontext.AppendString(append(b, `{"type":"base64","media_type":`...), mime)
	return append(jsontext.AppendString(jsontext.AppendField(b, "data"), data), '}'), ""
}
