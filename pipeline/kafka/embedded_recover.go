package kafka

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The folder of the embedded broker, as kfake lays it out: partitions/<topic>-<n>/<base>.dat holds record batches as on the
// wire, <base>.idx one entry of fixed size for each of them; groups.log and pids.log are framed JSON.
const (
	embeddedMetaFile  = "meta.json"
	embeddedCleanFile = "sira.clean" // there while no broker uses the folder and the last one was closed
	indexEntry        = 15           // version 1, checksum 1, leader epoch 4, timestamp 8, flags 1
	frameHeader       = 10           // length 4, CRC-32C 4, version 2; the length counts the version
	batchHeader       = 61           // of a record batch, up to its records
)

// repairEmbedded makes a folder whose broker died whole again, before the next one reads it:
//
//   - a commit that was cut off is taken back: its markers, and its groups' offsets;
//   - every transaction that was open gets an abort marker. The broker would take it for aborted too, but only in memory: the
//     producer's next commit would then cover it at the start after this one;
//   - every transactional producer gets a new epoch, so that none goes on with a transaction of which a part is gone;
//   - what was written half is cut off.
func repairEmbedded(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, embeddedMetaFile)); errors.Is(err, fs.ErrNotExist) {
		return nil // a new folder
	}
	pids, err := readLog(dir, embeddedPIDsLog)
	if err != nil {
		return err
	}
	undo, err := readIntent(dir)
	if err != nil {
		return err
	}
	if undo != nil && undo.done(pids) {
		undo = nil
	}
	parts, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, p := range parts {
		if err := repairPartition(filepath.Join(dir, "partitions", p.Name()), undo); err != nil {
			return fmt.Errorf("partition %s: %w", p.Name(), err)
		}
	}
	if err := repairGroups(dir, undo); err != nil {
		return err
	}
	return fenceAll(dir, pids)
}

// batch is what matters of a record batch.
type batch struct {
	at, size              int64 // in its file
	first, last           int64 // offsets
	leaderEpoch           int32
	pid                   int64
	epoch                 int16
	transactional, marker bool
	commit                bool // of a marker
}

// parseBatch reads the batch at the start of b; ok is false if there is no whole one.
func parseBatch(b []byte, at int64) (x batch, ok bool) {
	if len(b) < batchHeader {
		return x, false
	}
	size := 12 + int64(int32(binary.BigEndian.Uint32(b[8:])))
	if size < batchHeader || size > int64(len(b)) {
		return x, false
	}
	b = b[:size]
	if crc32.Checksum(b[21:], castagnoli) != binary.BigEndian.Uint32(b[17:]) {
		return x, false
	}
	attributes := binary.BigEndian.Uint16(b[21:])
	x = batch{
		at: at, size: size,
		first:       int64(binary.BigEndian.Uint64(b)),
		leaderEpoch: int32(binary.BigEndian.Uint32(b[12:])),
		pid:         int64(binary.BigEndian.Uint64(b[43:])), epoch: int16(binary.BigEndian.Uint16(b[51:])),
		transactional: attributes&0x10 != 0, marker: attributes&0x20 != 0,
	}
	x.last = x.first + int64(int32(binary.BigEndian.Uint32(b[23:])))
	if x.marker {
		var rec kmsg.Record
		if err := rec.ReadFrom(b[batchHeader:]); err == nil && len(rec.Key) >= 4 {
			x.commit = binary.BigEndian.Uint16(rec.Key[2:]) == 1
		}
	}
	return x, true
}

// segment is a file of a partition with its index.
type segment struct {
	data, index string // file names
	batches     []batch
	entries     []byte // of the index, one for each batch
}

func readSegment(dir string, base int64) (*segment, error) {
	name := filepath.Join(dir, strconv.FormatInt(base, 10))
	s := &segment{data: name + ".dat", index: name + ".idx"}
	raw, err := os.ReadFile(s.data)
	if err != nil {
		return nil, err
	}
	if s.entries, err = os.ReadFile(s.index); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for at := int64(0); ; {
		b, ok := parseBatch(raw[at:], at)
		if !ok {
			break
		}
		s.batches = append(s.batches, b)
		at += b.size
	}
	return s, nil
}

// cut keeps the first n batches and their entries.
func (s *segment) cut(n int) error {
	var size int64
	if n > 0 {
		size = s.batches[n-1].at + s.batches[n-1].size
	}
	s.batches, s.entries = s.batches[:n], s.entries[:min(len(s.entries), n*indexEntry)]
	return errors.Join(truncate(s.data, size), truncate(s.index, int64(len(s.entries))))
}

func truncate(name string, size int64) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && size == 0:
		return nil
	case err != nil:
		return err
	case info.Size() <= size:
		return nil
	}
	return os.Truncate(name, size)
}

func repairPartition(dir string, undo *intent) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var bases []int64
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".dat"); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	open := make(map[int64]batch) // by producer, its last transactional batch without a marker after it
	var last *segment             // that has batches
	for i, base := range bases {
		s, err := readSegment(dir, base)
		if err != nil {
			return err
		}
		if i == len(bases)-1 {
			// A batch without an entry was never acknowledged, and without it nobody knows any more that it is transactional.
			if err := s.cut(min(len(s.batches), len(s.entries)/indexEntry)); err != nil {
				return err
			}
			if n := len(s.batches); n > 0 && undo.wrote(s.batches[n-1]) {
				if err := s.cut(n - 1); err != nil {
					return err
				}
			}
		}
		for _, b := range s.batches {
			switch {
			case b.marker:
				delete(open, b.pid)
			case b.transactional:
				open[b.pid] = b
			}
		}
		if len(s.batches) > 0 {
			last = s
		}
	}
	if len(open) == 0 {
		return nil
	}
	return last.abort(open)
}

// wrote reports whether b is a marker of the commit that was cut off.
func (in *intent) wrote(b batch) bool {
	return in != nil && b.marker && b.commit && b.pid == in.PID && b.epoch == in.Epoch
}

// abort appends an abort marker for each producer.
func (s *segment) abort(open map[int64]batch) error {
	if len(s.entries) < len(s.batches)*indexEntry {
		return fmt.Errorf("%s is shorter than its data: move the folder away to start anew", filepath.Base(s.index))
	}
	end := s.batches[len(s.batches)-1]
	next := end.last + 1
	var data, entries []byte
	for pid, b := range open {
		data = append(data, abortMarker(next, end.leaderEpoch, pid, b.epoch, time.Now())...)
		entry := slices.Clone(s.entries[len(s.entries)-indexEntry:])
		entry[indexEntry-1] = 0 // a marker is not part of the transaction that it ends
		entry[1] = byte(crc32.Checksum(entry[2:], castagnoli))
		entries = append(entries, entry...)
		next++
	}
	return errors.Join(appendFile(s.data, data), appendFile(s.index, entries))
}

// abortMarker is a control batch that ends a producer's transaction (KIP-98).
func abortMarker(offset int64, leaderEpoch int32, pid int64, epoch int16, now time.Time) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	value := kmsg.EndTxnMarker{}
	rec := kmsg.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil)}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) // the length itself takes one byte
	b := kmsg.RecordBatch{
		FirstOffset: offset, PartitionLeaderEpoch: leaderEpoch, Magic: 2, Attributes: 0x30,
		FirstTimestamp: now.UnixMilli(), MaxTimestamp: now.UnixMilli(),
		ProducerID: pid, ProducerEpoch: epoch, FirstSequence: -1, NumRecords: 1, Records: rec.AppendTo(nil),
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw
}

func appendFile(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// frame is an entry of groups.log or pids.log, in its frame and without.
type frame struct{ whole, text []byte }

// frames returns the entries of a log and how many bytes of it are whole.
func frames(b []byte) (all []frame, whole int) {
	for len(b)-whole >= frameHeader {
		rest := b[whole:]
		size := int64(binary.LittleEndian.Uint32(rest)) + 8
		if size < frameHeader || size > int64(len(rest)) ||
			crc32.Checksum(rest[8:size], castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			break
		}
		all = append(all, frame{whole: rest[:size], text: rest[frameHeader:size]})
		whole += int(size)
	}
	return all, whole
}

func appendFrame(dst, text []byte) []byte {
	body := binary.LittleEndian.AppendUint16(nil, 1)
	body = append(body, text...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(body, castagnoli))
	return append(dst, body...)
}

func readLog(dir, name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// repairGroups takes the offsets of the commit that was cut off out of groups.log: those that its groups got since.
func repairGroups(dir string, undo *intent) error {
	b, err := readLog(dir, embeddedGroupsLog)
	if err != nil || b == nil {
		return err
	}
	_, whole := frames(b)
	kept := b[:whole]
	if undo != nil && undo.GroupsSize < int64(whole) {
		kept = slices.Clone(b[:undo.GroupsSize])
		since, _ := frames(b[undo.GroupsSize:whole])
		for _, f := range since {
			var entry struct {
				Type  string `json:"type"`
				Group string `json:"g"`
			}
			if err := json.Unmarshal(f.text, &entry); err != nil {
				return fmt.Errorf("reading %s: %w", embeddedGroupsLog, err)
			}
			if entry.Type != "commit" || !slices.Contains(undo.Groups, entry.Group) {
				kept = append(kept, f.whole...)
			}
		}
	}
	if len(kept) == len(b) {
		return nil
	}
	return rewrite(filepath.Join(dir, embeddedGroupsLog), kept)
}

// fenceAll raises the epoch of every transactional producer.
func fenceAll(dir string, pids []byte) error {
	type producer struct {
		Type    string `json:"type"`
		PID     int64  `json:"pid"`
		Epoch   int16  `json:"epoch"`
		TxID    string `json:"txid,omitempty"`
		Timeout int32  `json:"timeout,omitempty"`
	}
	entries, whole := frames(pids)
	known := make(map[int64]*producer)
	var order []int64
	for _, f := range entries {
		var p producer
		if err := json.Unmarshal(f.text, &p); err != nil {
			return fmt.Errorf("reading %s: %w", embeddedPIDsLog, err)
		}
		switch have := known[p.PID]; {
		case have != nil:
			have.Epoch = p.Epoch
		case p.TxID != "":
			known[p.PID] = &p
			order = append(order, p.PID)
		}
	}
	out := slices.Clone(pids[:whole])
	for _, pid := range order {
		p := known[pid]
		if p.Epoch == math.MaxInt16 {
			p.Epoch = -2 // no producer has it, and the next one that asks gets 0 or more
		}
		text, err := json.Marshal(producer{Type: "timeout", PID: pid, Epoch: p.Epoch + 1})
		if err != nil {
			return err
		}
		out = appendFrame(out, text)
	}
	if len(out) == len(pids) {
		return nil
	}
	return rewrite(filepath.Join(dir, embeddedPIDsLog), out)
}

// rewrite replaces a file's content at once.
func rewrite(name string, b []byte) error {
	next := name + ".tmp"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(next, name)
}
