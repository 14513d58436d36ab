package wire

import (
	"bytes"
	"context"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// FormWriter writes the body of a request of
// content type multipart/form-data.
type FormWriter struct {
	body bytes.Buffer
	w    *multipart.Writer
}

// NewForm returns an empty form.
func NewForm() *FormWriter {
	f := new(FormWriter)
	f.w = multipart.NewWriter(&f.body)
	return f
}

// Field adds a value unless it is empty.
func (f *FormWriter) Field(name, value string) {
	if value != "" {
		_ = f.w.WriteField(name, value) // a bytes.Buffer never fails
	}
}

// File adds the data of m under a name; the file is called m.Name, or fallback.
func (f *FormWriter) File(name string, m *schemas.Media, fallback string) {
	file := m.Name
	if file == "" {
		file = fallback
	}
	h := make(textproto.MIMEHeader)
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "")
	h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename="%s"`, quote.Replace(name), quote.Replace(file)))
	if m.MIME != "" {
		h.Set("Content-Type", quote.Replace(m.MIME))
	}
	part, err := f.w.CreatePart(h)
	if err == nil {
		_, _ = part.Write(m.Data)
	}
}

// Post returns the request that sends the form to u. It keeps u and h as [Post]
// does; the form is used up.
func (f *FormWriter) Post(ctx context.Context, u *url.URL, h http.Header) *http.Request {
	_ = f.w.Close()
	h.Set("Content-Type", f.w.FormDataContentType())
	return Post(ctx, u, h, f.body.Bytes())
}
