package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// HeaderSize is the length in bytes of the Confluent header that precedes every
// Avro body: one zero byte and the schema id as a big-endian int32.
const HeaderSize = 5

// magic is the first byte of every record in Confluent's wire format.
const magic = 0x00

var (
	// ErrNotWireFormat says that the bytes do not begin with Confluent's zero
	// byte: they are something else, for instance JSON.
	ErrNotWireFormat = errors.New("not in Confluent wire format")

	// ErrShortHeader says that the bytes begin like Confluent's header and end
	// inside it.
	ErrShortHeader = errors.New("ends inside the Confluent header")

	// ErrInvalidSchemaID says that the header holds an id that no registry
	// hands out: zero or negative.
	ErrInvalidSchemaID = errors.New("invalid schema id")
)

// AppendHeader appends the Confluent header for a schema id to dst. The id must
// come from a registry, hence be between 1 and [math.MaxInt32]; SplitHeader
// refuses every other.
//
// Source: Confluent, "Formats, serializers, and deserializers", wire format.
func AppendHeader(dst []byte, id int) []byte {
	dst = append(dst, magic)
	return binary.BigEndian.AppendUint32(dst, uint32(id))
}

// SplitHeader returns the schema id and the Avro body of a record in Confluent
// wire format. The payload shares memory with b. The error is ErrNotWireFormat,
// ErrShortHeader or ErrInvalidSchemaID; none of them goes away by trying again.
func SplitHeader(b []byte) (id int, payload []byte, err error) {
	switch {
	case len(b) == 0:
		return 0, nil, ErrShortHeader
	case b[0] != magic:
		return 0, nil, fmt.Errorf("%w: first byte is 0x%02x", ErrNotWireFormat, b[0])
	case len(b) < HeaderSize:
		return 0, nil, fmt.Errorf("%w: %d of %d bytes", ErrShortHeader, len(b), HeaderSize)
	}
	raw := binary.BigEndian.Uint32(b[1:HeaderSize])
	if raw == 0 || raw > math.MaxInt32 {
		return 0, nil, fmt.Errorf("%w: %d", ErrInvalidSchemaID, int32(raw))
	}
	return int(raw), b[HeaderSize:], nil
}
