package kafka

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func packed(tb testing.TB, codec kgo.CompressionCodec, content []byte) ([]byte, kgo.CompressionCodecType) {
	tb.Helper()
	c, err := kgo.DefaultCompressor(codec)
	if err != nil {
		tb.Fatal(err)
	}
	out, typ := c.Compress(new(bytes.Buffer), content)
	return bytes.Clone(out), typ
}

func TestBatchesUnpackWithinTheirLimit(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	u := newUnpacker(limit)
	for name, codec := range codecs {
		fits, typ := packed(t, codec, bytes.Repeat([]byte("abcd "), limit/5))
		for range 2 { // what is used again works again
			out, err := u.Decompress(fits, typ)
			if err != nil || len(out) != limit/5*5 {
				t.Errorf("%s: %d bytes, %v", name, len(out), err)
			}
			bomb, typ := packed(t, codec, make([]byte, 20*limit))
			for what, src := range map[string][]byte{"a bomb": bomb, "noise": []byte("this is not compressed"), "half": fits[:len(fits)/2], "gzip's magic number": []byte("\x1f\x8b\x08 this is not gzip")} {
				if out, err := u.Decompress(src, typ); !errors.Is(err, kgo.ErrMaxDecompress) {
					t.Errorf("%s of %s: %d bytes, %v", what, name, len(out), err)
				}
			}
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for _, codec := range codecs {
		src, typ := packed(f, codec, []byte("some records"))
		f.Add(src, int8(typ))
	}
	u := newUnpacker(1 << 16)
	f.Fuzz(func(t *testing.T, src []byte, codec int8) {
		out, err := u.Decompress(src, kgo.CompressionCodecType(codec&7))
		if err != nil && !errors.Is(err, kgo.ErrMaxDecompress) {
			t.Errorf("the error %v does not say where to read on", err)
		}
		if len(out) > 1<<22+len(src) {
			t.Errorf("%d bytes came out of %d", len(out), len(src))
		}
	})
}
