package kafka

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxMetadata is how many bytes of metadata a committed offset may carry:
// Kafka's default of offset.metadata.max.bytes.
const MaxMetadata = 4096

// The forms of an offset map, in its first byte.
const (
	mapRuns = 1 // uvarint pairs: how many are missing, how many are done
	mapBits = 2 // one bit for each offset from low+1, least significant first
)

// maxMapSpan bounds what a decoded map may cover, so that the offsets of a
// hostile one can't overflow. Runs cost memory by their number and not by their
// length: one slow request may have any number of finished ones behind it.
const maxMapSpan = 1 << 40

// run is a stretch of finished offsets: [from, to).
type run struct{ from, to int64 }

// encodeMap writes which offsets above low are finished, as text that fits into
// the metadata of a committed offset. runs are in order, do not touch each other
// and lie above low. topic is the topic's id, of which four bytes are kept so
// that the map of a topic is not applied to a new one of the same name. Of two
// forms the shorter one is taken. No runs give "".
func encodeMap(low int64, runs []run, topic [16]byte) string {
	if len(runs) == 0 {
		return ""
	}
	b := make([]byte, 0, 5+4*len(runs))
	b = append(b, mapRuns)
	b = append(b, topic[:4]...)
	at := low
	for _, r := range runs {
		b = binary.AppendUvarint(b, uint64(r.from-at))
		b = binary.AppendUvarint(b, uint64(r.to-r.from))
		at = r.to
	}
	if span := runs[len(runs)-1].to - low - 1; int(span+7)/8+5 < len(b) {
		bits := make([]byte, 5+(span+7)/8)
		bits[0] = mapBits
		copy(bits[1:], topic[:4])
		for _, r := range runs {
			for o := r.from; o < r.to; o++ {
				i := o - low - 1
				bits[5+i/8] |= 1 << (i % 8)
			}
		}
		b = bits
	}
	return base64.RawStdEncoding.EncodeToString(b)
}

// errNotMap is returned for metadata that is no offset map, for example that of
// another tool.
var errNotMap = errors.New("not an offset map")

// decodeMap reads what encodeMap wrote. The map of another topic, or of none of
// ours, is an error: the offsets above low are then done again.
func decodeMap(low int64, s string, topic [16]byte) ([]run, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(b) < 5 {
		return nil, errNotMap
	}
	if topic != ([16]byte{}) && [4]byte(b[1:5]) != [4]byte(topic[:4]) {
		return nil, fmt.Errorf("%w of this topic: it was made for an earlier topic of that name", errNotMap)
	}
	switch b[0] {
	case mapRuns:
		return decodeRuns(low, b[5:])
	case mapBits:
		return decodeBits(low, b[5:]), nil
	}
	return nil, errNotMap
}

func decodeRuns(low int64, b []byte) ([]run, error) {
	var runs []run
	at := low
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errNotMap
		}
		b = b[n:]
		length, n := binary.Uvarint(b)
		if n <= 0 || gap == 0 || length == 0 || gap > maxMapSpan || length > maxMapSpan {
			return nil, errNotMap
		}
		b = b[n:]
		from := at + int64(gap)
		at = from + int64(length)
		if at-low > maxMapSpan {
			return nil, errNotMap
		}
		runs = append(runs, run{from, at})
	}
	return runs, nil
}

func decodeBits(low int64, b []byte) []run {
	var runs []run
	for i := range int64(len(b)) * 8 {
		if b[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		o := low + 1 + i
		if n := len(runs); n > 0 && runs[n-1].to == o {
			runs[n-1].to++
		} else {
			runs = append(runs, run{o, o + 1})
		}
	}
	return runs
}
