package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// deadRecord is a dead letter as the commands show it.
type deadRecord struct {
	ID     string    `json:"id"` // partition/offset on the dead-letter topic
	Reason string    `json:"reason"`
	Detail string    `json:"detail"`
	Origin string    `json:"origin"`
	Time   time.Time `json:"time"`
	Bytes  int       `json:"bytes"`

	record *kgo.Record
}

func (c *cli) deadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dead", Short: "List, show and redrive dead letters"}
	var reason string
	list := &cobra.Command{
		Use: "list", Short: "List dead letters with their reasons", Args: cobra.NoArgs,
		Example: "  sira dead list\n  sira dead list --reason unroutable --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.deadList(cmd, reason) },
	}
	list.Flags().StringVar(&reason, "reason", "", "only letters with this reason")
	show := &cobra.Command{
		Use: "show ID", Short: "Show one dead letter: headers and content", Args: cobra.ExactArgs(1),
		Long:    "Shows headers and content of a dead letter. The content is the request as it came, prompts included.",
		Example: "  sira dead show 0/17",
		RunE:    func(cmd *cobra.Command, args []string) error { return c.deadShow(cmd, args[0]) },
	}
	var all bool
	var byReason string
	redrive := &cobra.Command{
		Use: "redrive [ID...]", Short: "Send dead letters to the topic they came from",
		Long: `Sends dead letters back to the topic they came from, as they came.
They are new requests there and get results of their own. The dead letter stays on its topic until its retention ends; sira-redriven tells how
often a letter was sent back.`,
		Example: "  sira dead redrive 0/17 0/18\n  sira dead redrive --reason unroutable\n  sira dead redrive --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if n := len(args); (n > 0) == (all || byReason != "") {
				return usageError{errors.New("name dead letters, or use --reason or --all")}
			}
			return c.deadRedrive(cmd, args, byReason)
		},
	}
	redrive.Flags().BoolVar(&all, "all", false, "every dead letter")
	redrive.Flags().StringVar(&byReason, "reason", "", "every dead letter with this reason")
	cmd.AddCommand(list, show, redrive)
	return cmd
}

// dead reads the whole dead-letter topic as it is now. Control records are kept:
// the last offset of a topic of transactions is one.
func (c *cli) dead(ctx context.Context) (app.Config, *avro.Codecs, []deadRecord, error) {
	cfg, err := c.config()
	if err != nil {
		return cfg, nil, nil, err
	}
	topic := cfg.Topic(app.TopicDead)
	cl, codecs, _, err := c.clients(cfg, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond), kgo.KeepControlRecords())
	if err != nil {
		return cfg, nil, nil, err
	}
	defer cl.Close()
	if err := ping(ctx, cl, cfg); err != nil {
		return cfg, nil, nil, err
	}
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return cfg, nil, nil, fmt.Errorf("looking up topic %s: %w", topic, err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var out []deadRecord
	for len(left) > 0 {
		poll, cancel := context.WithTimeout(ctx, 10*time.Second)
		fetches := cl.PollFetches(poll)
		cancel()
		if err := fetches.Err0(); err != nil {
			return cfg, nil, nil, fmt.Errorf("reading %s: %w", topic, err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				if !r.Attrs.IsControl() {
					out = append(out, deadOf(r))
				}
				if r.Offset+1 >= left[p.Partition] {
					delete(left, p.Partition)
				}
			}
		})
	}
	return cfg, codecs, out, nil
}

func deadOf(r *kgo.Record) deadRecord {
	d := deadRecord{
		ID: fmt.Sprintf("%d/%d", r.Partition, r.Offset), Reason: headerOf(r, schemas.HeaderDeadReason), Detail: headerOf(r, schemas.HeaderDeadDetail),
		Origin: headerOf(r, schemas.HeaderDeadOrigin), Time: r.Timestamp, Bytes: len(r.Value), record: r,
	}
	if ms, err := strconv.ParseInt(headerOf(r, schemas.HeaderDeadTime), 10, 64); err == nil {
		d.Time = time.UnixMilli(ms)
	}
	return d
}

func headerOf(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func (c *cli) deadList(cmd *cobra.Command, reason string) error {
	_, _, letters, err := c.dead(cmd.Context())
	if err != nil {
		return err
	}
	var rows [][]any
	for _, d := range letters {
		if reason != "" && d.Reason != reason {
			continue
		}
		if c.json {
			if err := printJSON(cmd.OutOrStdout(), d); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []any{d.ID, d.Reason, d.Detail, d.Origin, d.Time, d.Bytes})
	}
	if c.json {
		return nil
	}
	return printTable(cmd.OutOrStdout(), []string{"id", "reason", "detail", "origin", "time", "bytes"}, rows)
}

func (c *cli) deadShow(cmd *cobra.Command, id string) error {
	_, codecs, letters, err := c.dead(cmd.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(letters, func(d deadRecord) bool { return d.ID == id })
	if i < 0 {
		return usageError{fmt.Errorf("there is no dead letter %q; `sira dead list` shows them", id)}
	}
	d := letters[i]
	headers := map[string]string{}
	for _, h := range d.record.Headers {
		headers[h.Key] = string(h.Value)
	}
	value := any(string(d.record.Value))
	if json.Valid(d.record.Value) {
		value = json.RawMessage(d.record.Value)
	} else if b, err := codecs.RenderJSON(cmd.Context(), d.record.Value); err == nil {
		value = json.RawMessage(b)
	}
	e := json.NewEncoder(cmd.OutOrStdout())
	if !c.json {
		e.SetIndent("", "  ")
	}
	return e.Encode(map[string]any{"id": d.ID, "reason": d.Reason, "detail": d.Detail, "origin": d.Origin, "time": d.Time, "key": string(d.record.Key), "headers": headers, "value": value})
}

// headerRedriven counts how often a letter was sent back.
const headerRedriven = "sira-redriven"

func (c *cli) deadRedrive(cmd *cobra.Command, ids []string, reason string) error {
	cfg, _, letters, err := c.dead(cmd.Context())
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(letters), func(d deadRecord) bool {
		return (len(ids) > 0 && !slices.Contains(ids, d.ID)) || (reason != "" && d.Reason != reason)
	})
	if len(chosen) < len(ids) {
		return usageError{fmt.Errorf("only %d of %d dead letters exist; `sira dead list` shows them", len(chosen), len(ids))}
	}
	cl, _, _, err := c.clients(cfg)
	if err != nil {
		return err
	}
	defer cl.Close()
	bar := newBar(cmd.ErrOrStderr(), len(chosen), "redriving")
	defer bar.Close()
	for _, d := range chosen {
		rec, err := redriven(cfg, d)
		if err != nil {
			return err
		}
		if err := cl.ProduceSync(cmd.Context(), rec).FirstErr(); err != nil {
			return fmt.Errorf("redriving %s: %w", d.ID, err)
		}
		_ = bar.Add(1)
		if c.json {
			if err := printJSON(cmd.OutOrStdout(), map[string]string{"id": d.ID, "topic": rec.Topic}); err != nil {
				return err
			}
		} else {
			fmt.Fprintln(cmd.OutOrStdout(), "redriven", d.ID, "to", rec.Topic)
		}
	}
	return nil
}

// redriven is the letter as a request again: on the topic that it came from, with
// the headers that it came with.
func redriven(cfg app.Config, d deadRecord) (*kgo.Record, error) {
	topic, _, ok := strings.Cut(d.Origin, "/")
	if !ok || !slices.ContainsFunc(cfg.Kafka.Lanes, func(l app.LaneConfig) bool { return cfg.RequestTopic(l.Name) == topic }) {
		return nil, fmt.Errorf("redriving %s: its origin %q is no request topic of this configuration", d.ID, d.Origin)
	}
	times := 0
	headers := make([]kgo.RecordHeader, 0, len(d.record.Headers))
	for _, h := range d.record.Headers {
		switch {
		case h.Key == headerRedriven:
			times, _ = strconv.Atoi(string(h.Value))
		case strings.HasPrefix(h.Key, "sira-dead-"), h.Key == schemas.HeaderAttempt, h.Key == schemas.HeaderNotBefore,
			h.Key == schemas.HeaderOrigin, h.Key == schemas.HeaderHistory, h.Key == schemas.HeaderDeadline, h.Key == schemas.HeaderLane:
		default:
			headers = append(headers, h)
		}
	}
	headers = append(headers, kgo.RecordHeader{Key: headerRedriven, Value: strconv.AppendInt(nil, int64(times+1), 10)})
	return &kgo.Record{Topic: topic, Key: d.record.Key, Value: d.record.Value, Headers: headers}, nil
}
