package kafka

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
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

// skip puts one item in the place of a batch that can't be unpacked, and reads on
// behind it.
func (s *session) skip(batch *kgo.ErrDecompressTooLarge, now time.Time) {
	s.log.Warn("a batch of records can't be unpacked: it is answered as one", zap.String("topic", batch.Topic),
		zap.Int32("partition", batch.Partition), zap.Int64("offset", batch.Offset), zap.Int64("next", batch.NextOffset))
	s.mu.Lock()
	t := s.trackers[topicPartition{batch.Topic, batch.Partition}]
	s.mu.Unlock()
	if t == nil {
		return // given up meanwhile; its next owner meets the batch
	}
	var ready []*item
	t.mu.Lock()
	// A part of the batch may be done: the next owner of a partition begins in the
	// middle.
	first := max(batch.Offset, t.next)
	if first < batch.NextOffset && t.register(first, batch.Epoch) {
		r := &kgo.Record{Topic: batch.Topic, Partition: batch.Partition, Offset: first, Timestamp: now}
		it := s.newItem(t, r)
		it.rec.packed = batch.NextOffset - first
		ready = t.chain([]*item{it})
		t.pass(batch.NextOffset)
	}
	t.mu.Unlock()
	s.readOn()
	for _, it := range ready {
		s.dispatch(it, now)
	}
}

// readOn has the client read every partition from where its tracker stands. To set
// one partition alone would not do: the client throws away what it has fetched of
// the others, and with it perhaps the news that another one has stopped at such a
// batch, which then would be read no more. A partition is only set to what differs
// from what was set before, in its epoch if nothing else; all negative ones mean
// none.
func (s *session) readOn() {
	s.epochs++
	none := int32(-1 - s.epochs%2)
	at := map[string]map[int32]kgo.EpochOffset{}
	s.mu.Lock()
	for tp, t := range s.trackers {
		if at[tp.topic] == nil {
			at[tp.topic] = map[int32]kgo.EpochOffset{}
		}
		t.mu.Lock()
		at[tp.topic][tp.partition] = kgo.EpochOffset{Epoch: none, Offset: t.position()}
		t.mu.Unlock()
	}
	s.mu.Unlock()
	s.consumer.SetOffsets(at)
}
