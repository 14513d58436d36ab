package kafka

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

const (
	embeddedIntentFile = "sira.intent"
	embeddedPIDsLog    = "pids.log"
	embeddedGroupsLog  = "groups.log"

	// intentTail is how much of pids.log is compared to see that it is still the same file.
	intentTail = 64
)

// An intent says which transaction the broker was about to commit, and how far its logs reached before. The broker handles one
// request after the other, so that at most one transaction is cut off by its death.
type intent struct {
	PID        int64    `json:"pid"`
	Epoch      int16    `json:"epoch"`
	Groups     []string `json:"groups"` // whose offsets are part of it
	PIDsSize   int64    `json:"pids_size"`
	PIDsTail   uint32   `json:"pids_tail"` // CRC-32C of the last bytes of pids.log
	GroupsSize int64    `json:"groups_size"`
}

// intents keeps the intent of the commit under way in a file: written before the broker begins, void once it takes the next
// request. The broker commits a transaction file by file (a marker in each partition, then the groups' offsets, then the
// producer's state), and only this tells a folder after a kill from one whose transaction is whole.
type intents struct {
	dir  string
	file *os.File
	log  *zap.Logger

	mu     sync.Mutex
	valid  bool
	groups map[int64][]string // by producer, of the open transactions
	ended  map[string]bool    // by transactional ID: asked to end, and nothing was added since
	buf    []byte
}

func openIntents(dir string, sync bool, log *zap.Logger) (*intents, error) {
	flags := os.O_RDWR | os.O_CREATE | os.O_TRUNC
	if sync {
		flags |= os.O_SYNC
	}
	f, err := os.OpenFile(filepath.Join(dir, embeddedIntentFile), flags, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening embedded kafka's intent: %w", err)
	}
	return &intents{dir: dir, file: f, log: log, groups: make(map[int64][]string), ended: make(map[string]bool)}, nil
}

// watch lets the intents see every request before the cluster handles it.
func (n *intents) watch(c *kfake.Cluster) {
	c.ControlKey(kmsg.TxnOffsetCommit.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if r, ok := req.(*kmsg.TxnOffsetCommitRequest); ok {
			n.takesOffsets(r.ProducerID, r.Group)
		}
		return nil, nil, false
	})
	c.ControlKey(kmsg.EndTxn.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl() // also after a refusal
		if r, ok := req.(*kmsg.EndTxnRequest); ok {
			if err := n.ends(r); err != nil {
				n.log.Error("embedded kafka: a transaction was refused because its intent can't be written", zap.Error(err))
				return nil, err, true // closes the connection: the client asks again
			}
		}
		return nil, nil, false
	})
	c.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		if req.Key() != kmsg.EndTxn.Int16() {
			n.void()
			n.adds(req)
		}
		return nil, nil, false
	})
}

// adds notes a request that adds to a transaction.
func (n *intents) adds(req kmsg.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		if r.TransactionID != nil {
			delete(n.ended, *r.TransactionID)
		}
	case *kmsg.AddPartitionsToTxnRequest:
		delete(n.ended, r.TransactionalID)
		for _, t := range r.Transactions {
			delete(n.ended, t.TransactionalID)
		}
	case *kmsg.AddOffsetsToTxnRequest:
		delete(n.ended, r.TransactionalID)
	case *kmsg.TxnOffsetCommitRequest:
		delete(n.ended, r.TransactionalID)
	}
}

func (n *intents) takesOffsets(pid int64, group string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.groups[pid], group) {
		n.groups[pid] = append(n.groups[pid], group)
	}
}

func (n *intents) ends(req *kmsg.EndTxnRequest) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	groups := n.groups[req.ProducerID]
	delete(n.groups, req.ProducerID)
	if !req.Commit || n.ended[req.TransactionalID] {
		// Of a commit that is asked for again the broker writes nothing more, and its intent would never be done.
		n.voidLocked()
		n.ended[req.TransactionalID] = true
		return nil
	}
	in := intent{PID: req.ProducerID, Epoch: req.ProducerEpoch, Groups: groups}
	var err error
	if in.PIDsSize, in.PIDsTail, err = sizeAndTail(filepath.Join(n.dir, embeddedPIDsLog)); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Join(n.dir, embeddedGroupsLog)); err == nil {
		in.GroupsSize = info.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	n.buf = binary.LittleEndian.AppendUint32(n.buf[:0], uint32(len(text)))
	n.buf = binary.LittleEndian.AppendUint32(n.buf, crc32.Checksum(text, castagnoli))
	n.buf = append(n.buf, text...)
	if _, err := n.file.WriteAt(n.buf, 0); err != nil {
		return err
	}
	n.valid, n.ended[req.TransactionalID] = true, true
	return nil
}

// void says that the last commit is over: the broker takes another request.
func (n *intents) void() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.voidLocked()
}

func (n *intents) voidLocked() {
	if !n.valid {
		return
	}
	if _, err := n.file.WriteAt(make([]byte, 8), 0); err != nil {
		n.log.Error("embedded kafka: an intent can't be voided", zap.Error(err))
		return
	}
	n.valid = false
}

func (n *intents) close() {
	n.void()
	_ = n.file.Close()
}

// readIntent returns the intent of a folder whose broker died, or nil if no commit was under way.
func readIntent(dir string) (*intent, error) {
	b, err := os.ReadFile(filepath.Join(dir, embeddedIntentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the intent: %w", err)
	}
	if len(b) < 8 {
		return nil, nil
	}
	size := int64(binary.LittleEndian.Uint32(b))
	if size == 0 || size > int64(len(b)-8) || crc32.Checksum(b[8:8+size], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, nil // void, or its writing was cut off, so that the commit had not begun
	}
	in := new(intent)
	if err := json.Unmarshal(b[8:8+size], in); err != nil {
		return nil, fmt.Errorf("reading the intent: %w", err)
	}
	return in, nil
}

// done reports whether the commit reached its last write, the producer's state in pids.log. A compaction of that file comes
// only after it.
func (in *intent) done(pids []byte) bool {
	size := int64(len(pids))
	if size < in.PIDsSize || crc32.Checksum(pids[max(0, in.PIDsSize-intentTail):in.PIDsSize], castagnoli) != in.PIDsTail {
		return true
	}
	entries, _ := frames(pids[in.PIDsSize:])
	return len(entries) > 0
}

// sizeAndTail returns how long a file is and the checksum of its end; a missing file is empty.
func sizeAndTail(name string) (int64, uint32, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	var tail [intentTail]byte
	n, err := f.ReadAt(tail[:min(info.Size(), intentTail)], max(0, info.Size()-intentTail))
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	return info.Size(), crc32.Checksum(tail[:n], castagnoli), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
