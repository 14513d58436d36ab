package kafka

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// unpackedLimit is the most that a batch may hold, bytes: a request of any legal
// size fits.
func unpackedLimit(maxRequestBytes int) int { return maxRequestBytes + 1<<20 }

// unpacker decompresses batches within a limit. Brokers take batches that unpack to
// a thousand times their size, and some take batches that do not unpack at all;
// each would stop its partition. All that it can't do is [kgo.ErrMaxDecompress],
// since the client then says where the batch ends. It may be used concurrently.
type unpacker struct {
	limit int
	zstd  *zstd.Decoder
	zips  sync.Pool // of *gzip.Reader
	lz4s  sync.Pool // of *lz4.Reader
	rest  kgo.Decompressor
}

func newUnpacker(limit int) *unpacker {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(limit)))
	if err != nil {
		panic("making a zstd decoder of legal options: " + err.Error())
	}
	u := &unpacker{limit: limit, zstd: d, rest: kgo.DefaultDecompressor()}
	u.zips.New = func() any { return new(gzip.Reader) }
	u.lz4s.New = func() any { return lz4.NewReader(nil) }
	return u
}

// Decompress implements kgo.Decompressor.
func (u *unpacker) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	out, err := u.unpack(src, codec)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", kgo.ErrMaxDecompress, err)
	}
	return out, nil
}

var errUnpacksToTooMuch = errors.New("it unpacks to more than the limit")

func (u *unpacker) unpack(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	switch codec {
	case kgo.CodecZstd:
		return u.zstd.DecodeAll(src, nil)
	case kgo.CodecGzip:
		r, _ := u.zips.Get().(*gzip.Reader)
		defer u.zips.Put(r)
		if err := r.Reset(bytes.NewReader(src)); err != nil {
			return nil, err
		}
		return u.drain(r)
	case kgo.CodecLz4:
		r, _ := u.lz4s.Get().(*lz4.Reader)
		defer u.lz4s.Put(r)
		r.Reset(bytes.NewReader(src))
		return u.drain(r)
	case kgo.CodecSnappy:
		// Java's frames hold blocks of their own; what they may unpack to is bounded by
		// snappy itself, at 22 times their size.
		if n, err := s2.DecodedLen(src); err == nil && n > u.limit && !bytes.HasPrefix(src, []byte("\x82SNAPPY\x00")) {
			return nil, errUnpacksToTooMuch
		}
	}
	return u.rest.Decompress(src, codec)
}

func (u *unpacker) drain(r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	n, err := out.ReadFrom(io.LimitReader(r, int64(u.limit)+1))
	if err == nil && n > int64(u.limit) {
		err = errUnpacksToTooMuch
	}
	return out.Bytes(), err
}
