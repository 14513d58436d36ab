package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// ensureTopicsTimeout bounds EnsureTopics when the caller's context does not: about two leader elections.
	ensureTopicsTimeout = time.Minute
	// listTopicsTimeout bounds ListTopics in the same way.
	listTopicsTimeout = 30 * time.Second
	topicRetryMin     = 50 * time.Millisecond
	topicRetryMax     = 2 * time.Second
)

// The topic settings that TopicSpec has fields for.
const (
	configCleanupPolicy   = "cleanup.policy"
	configRetention       = "retention.ms"
	configMinInsync       = "min.insync.replicas"
	configMaxMessageBytes = "max.message.bytes"
)

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// TopicSpec is a topic as it should be created. A zero field leaves the choice to the broker.
type TopicSpec struct {
	Name string `json:"name"`
	// Partitions bounds how many group members can share the topic.
	Partitions int32 `json:"partitions,omitempty"`
	// ReplicationFactor is the number of brokers that keep a copy. A cluster with fewer brokers refuses the topic.
	ReplicationFactor int16 `json:"replication_factor,omitempty"`
	// Retention is how long records are kept; negative means for ever. With Compact it also deletes the newest record of a key.
	Retention time.Duration `json:"retention,omitempty"`
	// Compact keeps the newest record of every key, whatever its age.
	Compact bool `json:"compact,omitempty"`
	// MinInsyncReplicas is how many copies must be written before a produce with acks=all succeeds.
	MinInsyncReplicas int `json:"min_insync_replicas,omitempty"`
	// MaxMessageBytes bounds a record batch, after compression.
	MaxMessageBytes int `json:"max_message_bytes,omitempty"`
	// Extra are further topic settings by their Kafka names. They must not repeat what a field above sets.
	Extra map[string]string `json:"extra,omitempty"`
}

// Validate returns all faults of the spec at once, each saying what to write instead.
func (s TopicSpec) Validate() error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("topic %q: "+format, append([]any{s.Name}, args...)...))
	}
	if !topicName.MatchString(s.Name) || s.Name == "." || s.Name == ".." {
		fault("illegal name; use 1 to 249 of a-z, A-Z, 0-9, dot, underscore and hyphen")
	}
	if s.Partitions < 0 {
		fault("partitions is %d; write a positive number, or 0 for the broker's default", s.Partitions)
	}
	if s.ReplicationFactor < 0 {
		fault("replication_factor is %d; write a positive number, or 0 for the broker's default", s.ReplicationFactor)
	}
	if s.MinInsyncReplicas < 0 || s.MaxMessageBytes < 0 {
		fault("min_insync_replicas and max_message_bytes must not be negative; 0 is the broker's default")
	}
	if rf := int(s.ReplicationFactor); rf > 0 && s.MinInsyncReplicas > rf {
		fault("min_insync_replicas %d exceeds replication_factor %d, so nothing could be produced; lower it", s.MinInsyncReplicas, rf)
	}
	if s.Retention > 0 && s.Retention < time.Millisecond {
		fault("retention %v is below Kafka's resolution; write at least 1ms", s.Retention)
	}
	own := s.fieldConfigs()
	for _, k := range slices.Sorted(maps.Keys(s.Extra)) {
		if _, ok := own[k]; ok {
			fault("extra repeats %s, which a field of its own sets; remove one", k)
		}
	}
	return errors.Join(errs...)
}

func (s TopicSpec) fieldConfigs() map[string]string {
	out := make(map[string]string)
	switch {
	case s.Compact && s.Retention > 0:
		out[configCleanupPolicy] = "compact,delete"
	case s.Compact:
		out[configCleanupPolicy] = "compact"
	}
	switch {
	case s.Retention > 0:
		out[configRetention] = strconv.FormatInt(s.Retention.Milliseconds(), 10)
	case s.Retention < 0:
		out[configRetention] = "-1"
	}
	if s.MinInsyncReplicas > 0 {
		out[configMinInsync] = strconv.Itoa(s.MinInsyncReplicas)
	}
	if s.MaxMessageBytes > 0 {
		out[configMaxMessageBytes] = strconv.Itoa(s.MaxMessageBytes)
	}
	return out
}

func (s TopicSpec) configs() map[string]*string {
	all := s.fieldConfigs()
	maps.Copy(all, s.Extra)
	out := make(map[string]*string, len(all))
	for k, v := range all {
		out[k] = &v
	}
	return out
}

// EnsureTopics creates the topics that are missing and returns their names once every partition has a leader, so that a
// client may use them at once. Existing topics are never changed; one with fewer partitions than asked is an error, more are
// fine. All faults are returned together; topics without fault are created all the same.
//
// Errors that pass by themselves (a leader election, a controller that moves) are tried again until ctx ends, and for a
// minute at most. Any number of processes may call EnsureTopics at once.
func EnsureTopics(ctx context.Context, cl *kgo.Client, specs []TopicSpec) (created []string, err error) {
	if err := validateTopicSpecs(specs); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ensureTopicsTimeout)
	defer cancel()
	var errs []error
	for _, s := range specs {
		isNew, err := ensureTopic(ctx, cl, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("ensuring topic %q: %w", s.Name, err))
		}
		if isNew {
			created = append(created, s.Name)
		}
	}
	return created, errors.Join(errs...)
}

func validateTopicSpecs(specs []TopicSpec) error {
	var errs []error
	seen := make(map[string]bool, len(specs))
	for _, s := range specs {
		errs = append(errs, s.Validate())
		if seen[s.Name] {
			errs = append(errs, fmt.Errorf("topic %q: listed twice; remove one", s.Name))
		}
		seen[s.Name] = true
	}
	return errors.Join(errs...)
}

// ensureTopic goes round until the topic is seen complete. Creating it is one step of the round and not its end: another
// process may have been faster, and a new topic takes a moment to get its leaders.
func ensureTopic(ctx context.Context, cl *kgo.Client, s TopicSpec) (created bool, err error) {
	for wait := topicRetryMin; ; wait = min(2*wait, topicRetryMax) {
		found, err := topicIsComplete(ctx, cl, s)
		switch {
		case found:
			return created, err
		case errors.Is(err, kerr.UnknownTopicOrPartition) && !created:
			err = createTopic(ctx, cl, s)
			created = err == nil
			if created {
				continue
			}
		}
		if err != nil && !kerr.IsRetriable(err) && !errors.Is(err, kerr.TopicAlreadyExists) {
			return created, err
		}
		if werr := waitFor(ctx, wait); werr != nil {
			return created, fmt.Errorf("%w; last: %w", werr, err)
		}
	}
}

// topicIsComplete reports whether the topic exists and all its partitions have leaders. An error with true is final.
func topicIsComplete(ctx context.Context, cl *kgo.Client, s TopicSpec) (bool, error) {
	// Not kadm.ListTopics: that may answer from the client's cache, which still lacks a topic that was just created.
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = new(s.Name)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return false, fmt.Errorf("listing: %w", err)
	}
	if len(resp.Topics) != 1 {
		return false, fmt.Errorf("listing: the broker answered for %d topics instead of 1", len(resp.Topics))
	}
	d := resp.Topics[0]
	if err := kerr.ErrorForCode(d.ErrorCode); err != nil {
		return false, err
	}
	for _, p := range d.Partitions {
		if p.Leader < 0 {
			return false, fmt.Errorf("partition %d: %w", p.Partition, kerr.LeaderNotAvailable)
		}
	}
	if have := int32(len(d.Partitions)); have < s.Partitions {
		return true, fmt.Errorf("it has %d partitions and %d are asked for; add them with kafka-topics.sh --alter --topic %s --partitions %d "+
			"(keys then move to other partitions), or lower partitions to %d", have, s.Partitions, s.Name, s.Partitions, have)
	}
	return true, nil
}

func createTopic(ctx context.Context, cl *kgo.Client, s TopicSpec) error {
	partitions, replicas := s.Partitions, s.ReplicationFactor
	if partitions == 0 {
		partitions = -1
	}
	if replicas == 0 {
		replicas = -1
	}
	resp, err := kadm.NewClient(cl).CreateTopics(ctx, partitions, replicas, s.configs(), s.Name)
	if err != nil {
		return fmt.Errorf("creating: %w", err)
	}
	r := resp[s.Name]
	switch {
	case errors.Is(r.Err, kerr.InvalidReplicationFactor):
		return fmt.Errorf("creating: replication_factor %d is more than the cluster has brokers; lower it, or write 0 for the broker's default: %w",
			s.ReplicationFactor, r.Err)
	case r.Err != nil && r.ErrMessage != "":
		return fmt.Errorf("creating: %s: %w", r.ErrMessage, r.Err)
	case r.Err != nil:
		return fmt.Errorf("creating: %w", r.Err)
	}
	return nil
}

func waitFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TopicInfo is a topic as the cluster has it.
type TopicInfo struct {
	Name       string
	Partitions []TopicPartitionInfo // in order
	Replicas   int                  // of partition 0
	Config     map[string]string    // settings in effect, defaults included; sensitive ones are left out
}

// TopicPartitionInfo is one partition of a TopicInfo. It holds the records with Start <= offset < End; transaction markers
// and compaction may leave fewer than End-Start.
type TopicPartitionInfo struct {
	Partition int32
	Leader    int32 // broker id, -1 without
	Start     int64
	End       int64
}

// Records returns the sum of End-Start over all partitions: an upper bound of the records that the topic holds.
func (t TopicInfo) Records() int64 {
	var n int64
	for _, p := range t.Partitions {
		n += p.End - p.Start
	}
	return n
}

// ListTopics describes the named topics, or all but Kafka's internal ones when names is empty, sorted by name. Topics that
// cannot be described are left out and named in the error, which wraps the broker's answer; the rest is returned with it.
func ListTopics(ctx context.Context, cl *kgo.Client, names []string) ([]TopicInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, listTopicsTimeout)
	defer cancel()
	adm := kadm.NewClient(cl)
	details, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	var errs []error
	var found []string
	for _, d := range details.Sorted() {
		if d.Err != nil {
			errs = append(errs, fmt.Errorf("listing topic %q: %w", d.Topic, d.Err))
			continue
		}
		found = append(found, d.Topic)
	}
	if len(found) == 0 {
		return nil, errors.Join(errs...)
	}
	out, err := describeTopics(ctx, adm, details, found)
	return out, errors.Join(append(errs, err)...)
}

func describeTopics(ctx context.Context, adm *kadm.Client, details kadm.TopicDetails, names []string) ([]TopicInfo, error) {
	starts, err := adm.ListStartOffsets(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("listing start offsets: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("listing end offsets: %w", err)
	}
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describing topic configs: %w", err)
	}
	var out []TopicInfo
	var errs []error
	for _, name := range names {
		info := TopicInfo{Name: name, Config: make(map[string]string), Replicas: details[name].Partitions.NumReplicas()}
		rc, err := configs.On(name, nil)
		err = errors.Join(err, rc.Err)
		for _, c := range rc.Configs {
			if c.Value != nil && !c.Sensitive {
				info.Config[c.Key] = *c.Value
			}
		}
		for _, p := range details[name].Partitions.Sorted() {
			start, _ := starts.Lookup(name, p.Partition)
			end, _ := ends.Lookup(name, p.Partition)
			err = errors.Join(err, start.Err, end.Err)
			info.Partitions = append(info.Partitions, TopicPartitionInfo{
				Partition: p.Partition, Leader: p.Leader, Start: start.Offset, End: end.Offset,
			})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("describing topic %q: %w", name, err))
			continue
		}
		out = append(out, info)
	}
	return out, errors.Join(errs...)
}
