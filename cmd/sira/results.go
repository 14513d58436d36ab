package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/tracing"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
	"github.com/sira-ai/sira/sinks/blob"
)

func (c *cli) resultsCommand() *cobra.Command {
	var (
		topic, id, tenant string
		follow            bool
	)
	cmd := &cobra.Command{
		Use: "results", Short: "Read results", Args: cobra.NoArgs,
		Long: `Prints the results on the results topic as readers of committed records see them:
one for each request. Without --follow it stops at the newest one.`,
		Example: "  sira results --follow\n  sira results --id 0192f0c1-… --json\n  sira results --tenant acme",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			f, err := c.follow(cmd.Context(), cfg, resultTopic(cfg, topic), false)
			if err != nil {
				return err
			}
			defer f.close()
			f.stopAtEnd = !follow
			found := false
			err = f.each(cmd.Context(), func(r *received) (bool, error) {
				if (id != "" && r.RequestID != id) || (tenant != "" && r.Tenant != tenant) {
					return true, nil
				}
				found = true
				return id == "" || follow, c.printResult(cmd.OutOrStdout(), r)
			})
			if err == nil && id != "" && !found {
				return fmt.Errorf("there is no result of request %s yet; --follow waits for it", id)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&topic, "topic", "", "result topic (default: the results topic)")
	f.StringVar(&id, "id", "", "only the result of this request")
	f.StringVar(&tenant, "tenant", "", "only results of this tenant")
	f.BoolVarP(&follow, "follow", "f", false, "go on with new ones until Ctrl-C")
	return cmd
}

// received is a result as it came.
type received struct {
	schemas.Result
	// TraceID is that of the request's trace, 32 hex digits; empty without one.
	TraceID string `json:"trace_id,omitempty"`
}

// follower reads a result topic.
type follower struct {
	client    *kgo.Client
	codecs    *avro.Codecs
	blobs     *blob.Folder
	topic     string
	stopAtEnd bool
	ends      map[int32]int64
}

// follow starts reading a topic from its start, or from its end. Control records
// are kept: the last offset of a topic of transactions is one.
func (c *cli) follow(ctx context.Context, cfg app.Config, topic string, fromEnd bool) (*follower, error) {
	start := kgo.NewOffset().AtStart()
	if fromEnd {
		start = kgo.NewOffset().AtEnd()
	}
	cl, codecs, _, err := c.clients(cfg, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(start), kgo.FetchMaxWait(250*time.Millisecond), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	if err := ping(ctx, cl, cfg); err != nil {
		cl.Close()
		return nil, err
	}
	f := &follower{client: cl, codecs: codecs, blobs: cfg.BlobStore(), topic: topic, ends: map[int32]int64{}}
	listed, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		cl.Close()
		return nil, fmt.Errorf("looking up topic %s: %w; `sira topics create` makes it", topic, err)
	}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			f.ends[o.Partition] = o.Offset
		}
	})
	if fromEnd { // from where it ends now, not when the first fetch comes
		at := map[string]map[int32]kgo.EpochOffset{topic: {}}
		listed.Each(func(o kadm.ListedOffset) { at[topic][o.Partition] = kgo.EpochOffset{Epoch: -1, Offset: o.Offset} })
		offsets := map[string]map[int32]kgo.Offset{topic: {}}
		for p, o := range at[topic] {
			offsets[topic][p] = kgo.NewOffset().At(o.Offset)
		}
		cl.PurgeTopicsFromClient(topic)
		cl.AddConsumePartitions(offsets)
	}
	return f, nil
}

func (f *follower) close() { f.client.Close() }

// each calls do for every result until it returns false, the end is reached or
// ctx is done, which is no error.
func (f *follower) each(ctx context.Context, do func(*received) (more bool, err error)) error {
	if f.stopAtEnd && len(f.ends) == 0 {
		return nil
	}
	for {
		fetches := f.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err0(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("reading %s: %w", f.topic, err)
		}
		more, err := f.batch(ctx, fetches, do)
		if err != nil || !more || (f.stopAtEnd && len(f.ends) == 0) {
			return err
		}
	}
}

func (f *follower) batch(ctx context.Context, fetches kgo.Fetches, do func(*received) (bool, error)) (more bool, err error) {
	more = true
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		for _, rec := range p.Records {
			if err != nil || !more {
				return
			}
			if !rec.Attrs.IsControl() {
				var r received
				if r, err = f.decode(ctx, rec); err == nil {
					more, err = do(&r)
				}
			}
			if rec.Offset+1 >= f.ends[p.Partition] {
				delete(f.ends, p.Partition)
			}
		}
	})
	return more, err
}

func (f *follower) decode(ctx context.Context, rec *kgo.Record) (received, error) {
	var r received
	value := rec.Value
	headers := make([]pipeline.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = pipeline.Header{Key: h.Key, Value: h.Value}
		if h.Key == schemas.HeaderDataRef {
			if whole, err := f.blobs.Get(ctx, string(h.Value)); err == nil {
				value = whole
			}
		}
	}
	r.TraceID = tracing.ID(headers)
	var err error
	if len(value) > 0 && value[0] == 0 {
		err = f.codecs.Result.Decode(ctx, value, &r.Result)
	} else {
		err = json.NewDecoder(bytes.NewReader(value)).Decode(&r.Result)
	}
	if err != nil {
		return r, fmt.Errorf("decoding result at %s/%d/%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	return r, nil
}

func (c *cli) printResult(w io.Writer, r *received) error {
	if c.json {
		return printJSON(w, r)
	}
	cost := string(r.Cost.State)
	if r.Cost.Money != nil {
		cost = r.Cost.Money.Amount.String() + " " + r.Cost.Money.Currency
	}
	took := r.CompletedAt.Sub(r.CreatedAt).Round(time.Millisecond)
	if r.Failure != nil {
		_, err := fmt.Fprintf(w, "%s  %s  FAILED %s: %s  (%d attempts, %s)\n", r.RequestID, r.Tenant, r.Failure.Code, r.Failure.Message, len(r.Attempts), took)
		return err
	}
	by := ""
	if r.Target != nil {
		by = r.Target.Provider + "/" + r.Target.Model
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s  %s  %s\n%s\n\n", r.RequestID, r.Tenant, by, took, cost, r.Response.Text())
	return err
}
