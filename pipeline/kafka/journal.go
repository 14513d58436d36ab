package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline"
)

// journal keeps the outcomes of finished requests in files until they are
// committed, so that a worker that is killed in between need not call the provider
// again: the next life finds the outcome and commits it.
//
// It saves calls and promises nothing. What is in it was never visible to anyone,
// and an outcome is used only for a record that the committed offsets say is not
// done; so a journal that is lost, old, or on another machine costs calls and
// nothing else. Outcomes reach the operating system within journalDelay; the death
// of the machine may take them.
//
// It is safe for concurrent use.
type journal struct {
	dir string
	log *zap.Logger

	writing sync.Mutex // held while the file is written; taken before mu
	wrote   time.Time  // when it was written last; of writing

	mu     sync.Mutex
	buf    []byte // to be written
	spare  []byte
	file   *os.File
	number int // of file
	size   int64
	live   map[int]int // by file: outcomes not committed yet; of none in those to be written over
	found  map[journalKey][]pipeline.Record
	timer  *time.Timer // calls forget

	failing bool // the last write failed, and that was said

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

const (
	journalDelay = 2 * time.Millisecond
	journalFile  = 8 << 20   // bytes, after which the next file is begun
	journalLoad  = 256 << 20 // most bytes read at a start
	// journalKeep is how long outcomes are of use: a worker that was away for longer
	// has lost its partitions.
	journalKeep = 10 * time.Minute
)

// journalKey is the record that an outcome is of. The timestamp tells it from one
// of a topic that was made anew.
type journalKey struct {
	topic     string
	partition int32
	offset    int64
	timestamp int64
}

func keyOfRecord(r *kgo.Record) journalKey {
	return journalKey{r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli()}
}

func keyOf(r *record) journalKey {
	return journalKey{r.topic, r.partition, r.offset, r.timestamp.UnixMilli()}
}

// openJournal reads what earlier lives left in dir and begins a new file.
func openJournal(dir string, log *zap.Logger) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the journal's folder: %w", err)
	}
	j := &journal{
		dir: dir, log: log, live: make(map[int]int), found: make(map[journalKey][]pipeline.Record),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := j.load(); err != nil {
		return nil, err
	}
	if err := j.next(); err != nil {
		return nil, err
	}
	go j.write()
	return j, nil
}

func (j *journal) name(n int) string {
	return filepath.Join(j.dir, "outcomes."+strconv.Itoa(n))
}

// load reads the files of earlier lives, newest first, and removes the old ones.
func (j *journal) load() error {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return fmt.Errorf("reading the journal's folder: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		var n int
		if _, err := fmt.Sscanf(e.Name(), "outcomes.%d", &n); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	left := int64(journalLoad)
	for _, n := range numbers {
		j.number = max(j.number, n)
		info, err := os.Stat(j.name(n))
		if err != nil || left < info.Size() || time.Since(info.ModTime()) > journalKeep {
			_ = os.Remove(j.name(n)) // tried again at the next start
			continue
		}
		left -= info.Size()
		b, err := os.ReadFile(j.name(n))
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		j.parse(b)
	}
	j.timer = time.AfterFunc(journalKeep, j.forget)
	return nil
}

// forget drops, every now and then, what was found and not asked for.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.found)
	j.timer.Reset(journalKeep)
}

// next begins a file, and writes over one whose outcomes are all committed, if there
// is one. To fill pages that the system has already is several times cheaper than to
// take new ones, and they are written to the disk once in a while instead of once for
// each outcome. What is left of earlier outcomes behind the new ones does no harm: of
// their records nobody asks.
func (j *journal) next() error {
	name := j.name(j.number + 1)
	for n, live := range j.live {
		if live > 0 || n == j.number {
			continue
		}
		delete(j.live, n)
		if err := os.Rename(j.name(n), name); err == nil {
			break
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("beginning a journal: %w", err)
	}
	if j.file != nil {
		_ = j.file.Close()
	}
	j.number++
	j.file, j.size = f, 0
	j.live[j.number] = 0
	j.sweep()
	return nil
}

// sweep removes files that are of no use, but the one that the next can be written
// over.
func (j *journal) sweep() {
	free := 1
	for n, live := range j.live {
		if live > 0 || n == j.number {
			continue
		}
		if free > 0 {
			free--
			continue
		}
		_ = os.Remove(j.name(n))
		delete(j.live, n)
	}
}

// add keeps an outcome and returns the file that it goes to, for committed.
func (j *journal) add(k journalKey, outputs []pipeline.Record) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.buf) == 0 {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	j.buf = appendOutcome(j.buf, k, outputs)
	j.live[j.number]++
	return j.number
}

// due writes what was added if the last write is journalDelay ago and nobody is
// writing. Whoever adds calls it, holding no lock: on a busy machine the goroutine
// that waits to do the same gets its turn later, at worst after a kill.
func (j *journal) due() {
	if !j.writing.TryLock() {
		return
	}
	defer j.writing.Unlock()
	if time.Since(j.wrote) >= journalDelay {
		j.put()
	}
}

// committed says that n outcomes of a file are of no use any more.
func (j *journal) committed(file, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if live, ok := j.live[file]; ok {
		j.live[file] = live - n
	}
}

// keep takes back outcomes that their tracker had no time to commit.
func (j *journal) keep(pending []*completion) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range pending {
		j.found[c.key] = c.outputs
	}
}

// take returns the outcome of a record, if an earlier life has left one.
func (j *journal) take(k journalKey) ([]pipeline.Record, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.found) == 0 {
		return nil, false
	}
	out, ok := j.found[k]
	delete(j.found, k)
	return out, ok
}

// write puts outcomes into the file, those of journalDelay at once.
func (j *journal) write() {
	defer close(j.done)
	for {
		select {
		case <-j.wake:
		case <-j.stop:
			j.flush()
			return
		}
		select {
		case <-time.After(journalDelay):
		case <-j.stop:
		}
		j.flush()
	}
}

func (j *journal) flush() {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.put()
}

// put is flush for the holder of writing.
func (j *journal) put() {
	j.wrote = time.Now()
	j.mu.Lock()
	b, f := j.buf, j.file
	if len(b) == 0 {
		j.mu.Unlock()
		return
	}
	j.buf, j.spare = j.spare[:0], nil
	j.mu.Unlock()
	err := whole(f, b)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spare = b[:0]
	if err == nil {
		j.size += int64(len(b))
	}
	if err == nil && j.size >= journalFile {
		err = whole(f, j.buf) // of the same file, as add said
		j.buf = j.buf[:0]
		err = errors.Join(err, j.next())
	}
	if err != nil && !j.failing {
		j.log.Warn("the journal of outcomes can't be written: a kill would repeat more calls", zap.Error(err))
	}
	j.failing = err != nil
}

// whole writes b or nothing: what comes after half an outcome could not be read.
func whole(f *os.File, b []byte) error {
	n, err := f.Write(b)
	if err != nil && n > 0 {
		_, back := f.Seek(int64(-n), io.SeekCurrent)
		err = errors.Join(err, back)
	}
	return err
}

// close writes what is left. After a clean stop everything is committed, and the
// files are removed.
func (j *journal) close() {
	close(j.stop)
	<-j.done
	j.timer.Stop()
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.file.Close()
	for n, live := range j.live {
		if live == 0 {
			_ = os.Remove(j.name(n))
		}
	}
}

// appendOutcome appends a frame: length and CRC-32C, four bytes each, then the
// key and the records, with lengths as varints.
func appendOutcome(dst []byte, k journalKey, outputs []pipeline.Record) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, 8)...)
	dst = appendBytes(dst, []byte(k.topic))
	dst = binary.AppendVarint(dst, int64(k.partition))
	dst = binary.AppendVarint(dst, k.offset)
	dst = binary.AppendVarint(dst, k.timestamp)
	dst = binary.AppendUvarint(dst, uint64(len(outputs)))
	for i := range outputs {
		r := &outputs[i]
		dst = appendBytes(dst, []byte(r.Topic))
		dst = appendBytes(dst, r.Key)
		dst = appendBytes(dst, r.Value)
		dst = binary.AppendUvarint(dst, uint64(len(r.Headers)))
		for _, h := range r.Headers {
			dst = appendBytes(dst, []byte(h.Key))
			dst = appendBytes(dst, h.Value)
		}
	}
	body := dst[at+8:]
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(body)))
	binary.LittleEndian.PutUint32(dst[at+4:], crc32.Checksum(body, castagnoli))
	return dst
}

// appendBytes appends a length, one more than it is so that nil has one of its own,
// and the bytes.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(b))+1), b...)
}

// parse keeps the outcomes of a file up to the first that is not whole: the one
// that a kill cut off. Of two for one record the newer file's counts.
func (j *journal) parse(b []byte) {
	for len(b) >= 8 {
		size := int64(binary.LittleEndian.Uint32(b))
		if size > int64(len(b)-8) {
			return
		}
		body := b[8 : 8+size]
		if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
			return
		}
		k, outputs, err := parseOutcome(body)
		if err != nil {
			return
		}
		if _, newer := j.found[k]; !newer {
			j.found[k] = outputs
		}
		b = b[8+size:]
	}
}

var errOutcome = errors.New("not an outcome")

func parseOutcome(b []byte) (k journalKey, outputs []pipeline.Record, err error) {
	d := decoder{b: b}
	k.topic = string(d.bytes())
	k.partition, k.offset, k.timestamp = int32(d.varint()), d.varint(), d.varint()
	for range d.count() {
		r := pipeline.Record{Topic: string(d.bytes()), Key: d.bytes(), Value: d.bytes()}
		for range d.count() {
			r.Headers = append(r.Headers, pipeline.Header{Key: string(d.bytes()), Value: d.bytes()})
		}
		outputs = append(outputs, r)
	}
	if d.bad || len(d.b) > 0 {
		return k, nil, errOutcome
	}
	return k, outputs, nil
}

// decoder reads varints and bytes. After a mistake everything is empty.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads how many things follow, each of which takes a byte at least.
func (d *decoder) count() int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) bytes() []byte {
	v, read := binary.Uvarint(d.b)
	if read <= 0 || v > uint64(len(d.b)-read)+1 {
		d.bad, d.b = true, nil
		return nil
	}
	d.b = d.b[read:]
	if v == 0 {
		return nil
	}
	n := int(v - 1)
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}
