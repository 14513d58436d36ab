package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/tracing"
	"github.com/sira-ai/sira/schemas"
)

// enqueueFlags shape the requests of one call.
type enqueueFlags struct {
	model, tenant, lane, file, replyTo, id string
	stream, wait                           bool
	within                                 time.Duration
	labels                                 map[string]string
}

func (c *cli) enqueueCommand() *cobra.Command {
	var f enqueueFlags
	cmd := &cobra.Command{
		Use: "enqueue [PROMPT]", Short: "Put requests on a request topic", Args: cobra.MaximumNArgs(1),
		Long: `Puts one request with the given prompt on a lane's topic, or every line of a JSON
Lines file of requests (see docs/contracts.md; id, tenant and model are filled in
from the flags where a line has none). A payload above 256 KiB is claim-checked.

Prints the ids. --wait prints the results too.`,
		Example: `  sira enqueue --model gpt-4o-mini "What is a log?"
  sira enqueue --model gpt-4o-mini --stream --wait "Tell me a story"
  sira enqueue --file requests.jsonl --lane bulk
  echo '{"model":"gpt-4o","messages":[{"role":"user","parts":[{"kind":"text","text":"hi"}]}]}' | sira enqueue --file -`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.enqueue(cmd, f, args) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.model, "model", "m", "gpt-4o-mini", "model of the configuration")
	fl.StringVarP(&f.tenant, "tenant", "t", "default", "who is served and billed")
	fl.StringVarP(&f.lane, "lane", "l", "standard", "lane")
	fl.StringVarP(&f.file, "file", "f", "", "JSON Lines file of requests; - is standard input")
	fl.StringVar(&f.replyTo, "reply-to", "", "result topic, if the configuration allows it")
	fl.StringVar(&f.id, "id", "", "id of the request (default: a UUIDv7)")
	fl.BoolVar(&f.stream, "stream", false, "publish chunks as they come")
	fl.BoolVar(&f.wait, "wait", false, "wait for the results and print them")
	fl.DurationVar(&f.within, "within", 0, "deadline from now, such as 30s (default: the lane's)")
	fl.StringToStringVar(&f.labels, "label", nil, "labels, such as team=search,user=ann")
	return cmd
}

func (c *cli) enqueue(cmd *cobra.Command, f enqueueFlags, args []string) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if err := knownLane(cfg, f.lane); err != nil {
		return err
	}
	requests, err := f.requests(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	cl, _, _, err := c.clients(cfg)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := ping(ctx, cl, cfg); err != nil {
		return err
	}
	var follow *follower
	if f.wait {
		if follow, err = c.follow(ctx, cfg, resultTopic(cfg, f.replyTo), true); err != nil {
			return err
		}
		defer follow.close()
	}
	sent, err := c.sendTraced(cmd, f, cl, cfg, requests)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if !f.wait {
		for _, id := range sent {
			if c.json {
				err = printJSON(out, map[string]string{"id": id, "topic": cfg.RequestTopic(f.lane)})
			} else {
				_, err = fmt.Fprintln(out, id)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	waiting := map[string]bool{}
	for _, id := range sent {
		waiting[id] = true
	}
	return follow.each(ctx, func(r *received) (bool, error) {
		if !waiting[r.RequestID] {
			return true, nil
		}
		delete(waiting, r.RequestID)
		return len(waiting) > 0, c.printResult(out, r)
	})
}

func resultTopic(cfg app.Config, replyTo string) string {
	if replyTo != "" {
		return replyTo
	}
	return cfg.Topic(app.TopicResults)
}

func knownLane(cfg app.Config, lane string) error {
	names := make([]string, 0, len(cfg.Kafka.Lanes))
	for _, l := range cfg.Kafka.Lanes {
		if l.Name == lane {
			return nil
		}
		names = append(names, l.Name)
	}
	return usageError{fmt.Errorf("there is no lane %q; there are %s", lane, strings.Join(names, ", "))}
}

// requests reads what to send.
func (f *enqueueFlags) requests(stdin io.Reader, args []string) ([]*schemas.Request, error) {
	if (len(args) == 1) == (f.file != "") {
		return nil, usageError{errors.New("give either a prompt or --file")}
	}
	if len(args) == 1 {
		r := &schemas.Request{ID: f.id, Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, args[0])}}
		f.complete(r)
		if err := valid(r); err != nil {
			return nil, usageError{err}
		}
		return []*schemas.Request{r}, nil
	}
	in := stdin
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, fmt.Errorf("reading requests: %w", err)
		}
		defer file.Close()
		in = file
	}
	var out []*schemas.Request
	s := bufio.NewScanner(in)
	s.Buffer(nil, schemas.MaxRequestBytes)
	for line := 1; s.Scan(); line++ {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		r := &schemas.Request{}
		d := json.NewDecoder(bytes.NewReader(s.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(r); err != nil {
			return nil, usageError{fmt.Errorf("%s:%d: %w", f.file, line, err)}
		}
		f.complete(r)
		if err := valid(r); err != nil {
			return nil, usageError{fmt.Errorf("%s:%d: %w", f.file, line, err)}
		}
		out = append(out, r)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading requests: %w", err)
	}
	return out, nil
}

// valid turns a failure into an error that shows its message: it is the caller's
// own request.
func valid(r *schemas.Request) error {
	if err := r.Validate(); err != nil {
		return errors.New(schemas.AsFailure(err).Message)
	}
	return nil
}

func (f *enqueueFlags) complete(r *schemas.Request) {
	if r.ID == "" {
		r.ID = uuid.Must(uuid.NewV7()).String()
	}
	if r.Tenant == "" {
		r.Tenant = f.tenant
	}
	if r.Model == "" {
		r.Model = f.model
	}
	if r.ReplyTo == "" {
		r.ReplyTo = f.replyTo
	}
	if r.Labels == nil {
		r.Labels = f.labels
	}
	if r.Deadline.IsZero() && f.within > 0 {
		r.Deadline = time.Now().Add(f.within)
	}
	r.Stream = r.Stream || f.stream
	r.CreatedAt = time.Now()
}

// sendTraced produces the requests, each as the beginning of a trace where tracing is
// on. A collector that is away holds it up for tracing.drain at most and fails nothing.
func (c *cli) sendTraced(cmd *cobra.Command, f enqueueFlags, cl *kgo.Client, cfg app.Config, requests []*schemas.Request) ([]string, error) {
	log, err := c.logger()
	if err != nil {
		return nil, err
	}
	tracer, err := cfg.Tracer(log, nil)
	if err != nil {
		return nil, err
	}
	if tracer != nil {
		defer func() {
			if err := tracer.Close(); err != nil { // the requests are on their way all the same
				log.Warn("traces", zap.Error(err))
			}
		}()
	}
	return f.send(cmd.Context(), cmd.ErrOrStderr(), cl, cfg, tracer, requests)
}

// send produces the requests and returns their ids. tracer may be nil.
func (f *enqueueFlags) send(ctx context.Context, progress io.Writer, cl *kgo.Client, cfg app.Config, tracer *tracing.Tracer, requests []*schemas.Request) ([]string, error) {
	bar := newBar(progress, len(requests), "enqueueing")
	defer bar.Close()
	var mu sync.Mutex
	var first error
	ids := make([]string, 0, len(requests))
	for _, r := range requests {
		rec, err := requestRecord(ctx, cfg, f.lane, r)
		if err != nil {
			return nil, err
		}
		ids = append(ids, r.ID)
		sent := func(error) {}
		if tracer != nil {
			var headers []pipeline.Header
			headers, sent = tracer.Send(ctx, rec.Topic, r.ID)
			for _, h := range headers {
				rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
			}
		}
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			sent(err)
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
			_ = bar.Add(1)
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return nil, fmt.Errorf("enqueueing: %w", err)
	}
	if first != nil {
		return nil, fmt.Errorf("enqueueing: %w", first)
	}
	return ids, nil
}

// requestRecord writes a request as JSON, so that it is answered in JSON.
func requestRecord(ctx context.Context, cfg app.Config, lane string, r *schemas.Request) (*kgo.Record, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding request %s: %w", r.ID, err)
	}
	key := r.ID
	if r.ConversationID != "" {
		key = r.ConversationID
	}
	rec := &kgo.Record{Topic: cfg.RequestTopic(lane), Key: []byte(key), Value: value, Headers: []kgo.RecordHeader{
		{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentTypeJSON)},
		{Key: schemas.HeaderID, Value: []byte(r.ID)},
		{Key: schemas.HeaderTenant, Value: []byte(r.Tenant)},
	}}
	if !r.Deadline.IsZero() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: schemas.HeaderDeadline, Value: strconv.AppendInt(nil, r.Deadline.UnixMilli(), 10)})
	}
	if len(value) > schemas.ClaimCheckBytes {
		ref, err := cfg.BlobStore().Put(ctx, value)
		if err != nil {
			return nil, fmt.Errorf("keeping large request %s: %w", r.ID, err)
		}
		rec.Value = []byte("{}")
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: schemas.HeaderDataRef, Value: []byte(ref)})
	}
	return rec, nil
}

// newBar shows progress on a terminal, and nothing elsewhere.
func newBar(w io.Writer, n int, what string) *progressbar.ProgressBar {
	show := false
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			show = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return progressbar.NewOptions(n, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetVisibility(show && n > 1), progressbar.OptionClearOnFinish())
}
