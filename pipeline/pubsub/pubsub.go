// Package pubsub is a watermill Publisher and Subscriber on Kafka. It is for what happens around the requests: consumers of
// cost, attempt and audit events, notifications, control and state topics, and extensions that want watermill's router and
// middlewares.
//
// It is not for the requests themselves. A request's result, its events and the consumed offset must become visible together
// or not at all, and watermill has no room for that: Publish cannot join a transaction that somebody else ends, and Ack
// carries neither outputs nor an offset. Here a message is delivered at least once; package kafka delivers one result.
//
// # Records and messages
//
// A record's value is the message's Payload; a nil Payload is a tombstone, in both directions. Headers are Metadata, so a
// traceparent travels along. Of headers with the same name the last one counts. The UUID travels in HeaderUUID, the header
// that watermill's own Kafka Pub/Sub uses; a record without it gets topic/partition/offset, which redelivery does not change.
//
// Metadata with the names below is about the record, and is never a header: a message that is published again does not
// pretend to come from where it was read.
package pubsub

import (
	"bytes"
	"errors"
	"maps"
	"strconv"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"
)

// HeaderUUID is the Kafka header that carries a message's UUID.
const HeaderUUID = "_watermill_message_uuid"

// Metadata that describes the record. The Publisher reads MetadataKey only; the Subscriber sets all.
const (
	// MetadataKey is the record's key. Records of one key go to one partition. Absent means no key.
	MetadataKey = "_kafka_key"
	// MetadataPartition is the partition the record was read from, in decimal.
	MetadataPartition = "_kafka_partition"
	// MetadataOffset is the offset of the record in its partition, in decimal.
	MetadataOffset = "_kafka_offset"
	// MetadataTimestamp is the record's time in milliseconds since 1970, in decimal.
	MetadataTimestamp = "_kafka_timestamp"
	// MetadataDelivery counts how often this subscription delivered the message: 1, and one more after every Nack.
	MetadataDelivery = "_kafka_delivery"
)

// ErrClosed is returned by Publish and Subscribe after Close.
var ErrClosed = errors.New("pubsub is closed")

func isRecordMetadata(name string) bool {
	switch name {
	case MetadataKey, MetadataPartition, MetadataOffset, MetadataTimestamp, MetadataDelivery:
		return true
	}
	return false
}

// toRecord shares the payload with the message.
func toRecord(topic string, m *message.Message) *kgo.Record {
	r := &kgo.Record{Topic: topic, Value: m.Payload}
	if key, ok := m.Metadata[MetadataKey]; ok {
		r.Key = []byte(key)
	}
	r.Headers = make([]kgo.RecordHeader, 0, len(m.Metadata)+1)
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: HeaderUUID, Value: []byte(m.UUID)})
	for name, value := range m.Metadata {
		if !isRecordMetadata(name) && name != HeaderUUID {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
		}
	}
	return r
}

// letter is the content of a record, from which each delivery makes a message of its own: a handler may change what it gets
// and still Nack it.
type letter struct {
	uuid     string
	metadata message.Metadata
	payload  message.Payload
}

// toLetter copies all it takes: a reference into the record would keep its whole decompressed batch in memory for as long as
// one message of it is not acknowledged.
func toLetter(r *kgo.Record) letter {
	l := letter{metadata: make(message.Metadata, len(r.Headers)+5), payload: bytes.Clone(r.Value)}
	for _, h := range r.Headers {
		switch {
		case h.Key == HeaderUUID:
			l.uuid = string(h.Value)
		case !isRecordMetadata(h.Key):
			l.metadata[strings.Clone(h.Key)] = string(h.Value)
		}
	}
	partition, offset := strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.Offset, 10)
	if l.uuid == "" {
		l.uuid = r.Topic + "/" + partition + "/" + offset
	}
	if r.Key != nil {
		l.metadata[MetadataKey] = string(r.Key)
	}
	l.metadata[MetadataPartition] = partition
	l.metadata[MetadataOffset] = offset
	l.metadata[MetadataTimestamp] = strconv.FormatInt(r.Timestamp.UnixMilli(), 10)
	return l
}

func (l letter) message(delivery int) *message.Message {
	m := message.NewMessage(l.uuid, bytes.Clone(l.payload))
	maps.Copy(m.Metadata, l.metadata)
	m.Metadata[MetadataDelivery] = strconv.Itoa(delivery)
	return m
}
