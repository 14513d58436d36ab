package kafka

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

const (
	// diskReserve is what the embedded broker leaves free for markers, offsets and producers' states, in bytes, so that
	// transactions can be ended in order.
	diskReserve = 64 << 20
	// diskLast is how much these need at least, in bytes. Others may have filled the disk up to the last.
	diskLast = 1 << 20
	// diskLook is how old an answer about free space may be. A fast disk takes far less than the reserve in that time.
	diskLook = 100 * time.Millisecond
)

// disk keeps the embedded broker from filling its disk: below the reserve it refuses records with KAFKA_STORAGE_ERROR, at
// which producers wait and try again, and when even the reserve is gone all that writes, by closing the connection. The broker
// itself would go on: a transaction whose marker can't be written is half committed, and offsets are forgotten with the process.
type disk struct {
	dir  string
	log  *zap.Logger
	room func(dir string) (int64, error) // bytes that are free

	mu     sync.Mutex
	looked time.Time
	free   int64
	full   bool // and that was said
}

// watch has the disk looked at before every request that writes.
func (d *disk) watch(c *kfake.Cluster) {
	c.ControlKey(kmsg.Produce.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r, ok := req.(*kmsg.ProduceRequest)
		if !ok || d.look() >= diskReserve {
			return nil, nil, false
		}
		return storageError(r), nil, true
	})
	for _, key := range []kmsg.Key{
		kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.OffsetCommit, kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn,
		kmsg.WriteTxnMarkers, kmsg.CreateTopics, kmsg.CreatePartitions,
	} {
		c.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			if d.look() >= diskLast {
				return nil, nil, false
			}
			return nil, errDiskFull, true // closes the connection: the client asks again
		})
	}
}

var errDiskFull = errors.New("the disk is full")

// look returns how many bytes are free, as of at most diskLook ago.
func (d *disk) look() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Sub(d.looked) < diskLook {
		return d.free
	}
	d.looked = now
	free, err := d.room(d.dir)
	if err != nil {
		return d.free // what can't be looked at is no reason to refuse
	}
	d.free = free
	was := d.full
	d.full = d.free < diskReserve
	switch {
	case d.full && !was:
		d.log.Error("embedded kafka: the disk is full, records are refused until there is room again",
			zap.String("dir", d.dir), zap.Int64("free_bytes", d.free), zap.Int64("wanted_bytes", diskReserve))
	case !d.full && was:
		d.log.Info("embedded kafka: there is room on the disk again", zap.String("dir", d.dir), zap.Int64("free_bytes", d.free))
	}
	return d.free
}

func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	err := syscall.Statfs(dir, &s)
	return int64(min(uint64(s.Bavail)*uint64(s.Bsize), math.MaxInt64)), err
}

// storageError answers a request for every partition, or not at all if no answer is wanted.
func storageError(r *kmsg.ProduceRequest) kmsg.Response {
	if r.Acks == 0 {
		return nil
	}
	resp := r.ResponseKind().(*kmsg.ProduceResponse)
	message := "the disk is full"
	for _, t := range r.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.ErrorMessage = p.Partition, kerr.KafkaStorageError.Code, &message
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// Ready returns why the broker takes no records, or nil.
func (e *Embedded) Ready() error {
	if free := e.FreeBytes(); free < diskReserve {
		return fmt.Errorf("the disk of %s has %d MiB left; make room for %d MiB, until then records are refused", e.dir, free>>20, diskReserve>>20)
	}
	return nil
}

// FreeBytes returns how much room the broker's disk has, as of at most a moment ago; math.MaxInt64 if it keeps all in memory.
func (e *Embedded) FreeBytes() int64 {
	if e.disk == nil {
		return math.MaxInt64
	}
	return e.disk.look()
}
