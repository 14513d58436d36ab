package stability_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
)

// go test ./handlers/provider/stability -run '^$' -bench . -benchmem.
func BenchmarkEncode(b *testing.B) {
	a, call := newAdapter(b, nil), image("sd3.5-large", nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Encode(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode reads a picture of 1 MiB, as bytes and as base64.
//
// go test ./handlers/provider/stability -run '^$' -bench . -benchmem.
func BenchmarkDecode(b *testing.B) {
	bytes := png + strings.Repeat("x", 1<<20)
	for name, content := range map[string]string{
		"image/png":        bytes,
		"application/json": `{"image":"` + base64.StdEncoding.EncodeToString([]byte(bytes)) + `","finish_reason":"SUCCESS","seed":7}`,
	} {
		b.Run(name, func(b *testing.B) {
			a, call, body := newAdapter(b, nil), image("core", nil), strings.NewReader(content)
			res := &http.Response{
				StatusCode: 200, Header: http.Header{"Content-Type": {name}}, Body: io.NopCloser(body), ContentLength: int64(len(content)),
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				body.Reset(content)
				if _, err := a.Decode(res, call, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
