package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Link is one record of a hash chain: changing, removing or moving it breaks the
// hashes after it.
type Link struct {
	Chain   uint16 // which chain; for Sira's audit log the partition of the topic
	Seq     uint64 // place in the chain, from 0, without gaps
	Prev    [32]byte
	Hash    [32]byte
	Payload []byte
}

// Hash returns the SHA-256 of prev, chain (2 bytes), seq (8 bytes, both
// big-endian) and payload. prev of the first link of a chain is all zeros.
func Hash(prev [32]byte, chain uint16, seq uint64, payload []byte) [32]byte {
	var fixed [32 + 2 + 8]byte
	copy(fixed[:32], prev[:])
	binary.BigEndian.PutUint16(fixed[32:], chain)
	binary.BigEndian.PutUint64(fixed[34:], seq)
	h := sha256.New()
	h.Write(fixed[:])
	h.Write(payload)
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

// Head is the newest link of a chain without its payload. A copy of it that is
// kept elsewhere is what shows that the newest records are missing.
type Head struct {
	Seq  uint64
	Hash [32]byte
}

// headJSON is a Head with a hash that people can copy.
type headJSON struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

// MarshalJSON writes seq and hash, in hex.
func (h Head) MarshalJSON() ([]byte, error) {
	return json.Marshal(headJSON{h.Seq, hex.EncodeToString(h.Hash[:])})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *Head) UnmarshalJSON(b []byte) error {
	var text headJSON
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	hash, err := hex.DecodeString(text.Hash)
	if err != nil {
		return fmt.Errorf("reading hash: %w", err)
	}
	if len(hash) != len(h.Hash) {
		return fmt.Errorf("reading hash: it has %d bytes instead of %d", len(hash), len(h.Hash))
	}
	h.Seq = text.Seq
	copy(h.Hash[:], hash)
	return nil
}

// Linker makes the links of one chain, one after the other. It belongs to one
// goroutine.
type Linker struct {
	chain uint16
	next  uint64
	prev  [32]byte
}

// NewLinker returns a Linker that goes on after head, or begins the chain where
// head is nil.
func NewLinker(chain uint16, head *Head) *Linker {
	l := &Linker{chain: chain}
	if head != nil {
		l.next, l.prev = head.Seq+1, head.Hash
	}
	return l
}

// Next returns the link of the chain's next record. It keeps payload.
func (l *Linker) Next(payload []byte) Link {
	link := Link{Chain: l.chain, Seq: l.next, Prev: l.prev, Hash: Hash(l.prev, l.chain, l.next, payload), Payload: payload}
	l.next, l.prev = l.next+1, link.Hash
	return link
}
