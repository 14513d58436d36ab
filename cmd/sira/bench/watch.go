package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
)

// runName returns the beginning of all ids of a run. It is random, since two runs
// may share a topic at once.
func runName() (string, error) {
	var b [5]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("naming the run: %w", err)
	}
	return "bench-" + hex.EncodeToString(b[:]), nil
}

// watcher reads results and pieces of streams as any consumer does.
type watcher struct {
	cfg    *Config
	prefix string
	tally  *tally
	client *kgo.Client
}

// open begins at the present end of the topics.
func (w *watcher) open(ctx context.Context) error {
	topics := []string{w.cfg.Results}
	for _, k := range w.cfg.Kinds {
		if k.Stream {
			topics = append(topics, w.cfg.Chunks)
			break
		}
	}
	cl, err := w.cfg.Client.NewClient(nil, nil)
	if err != nil {
		return err
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	cl.Close()
	if err = errors.Join(err, ends.Error()); err != nil {
		return fmt.Errorf("looking up topics %s: %w; `sira topics create` makes them", strings.Join(topics, ", "), err)
	}
	from := map[string]map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().At(o.Offset)
	})
	w.client, err = w.cfg.Client.NewClient(nil, nil, kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	return err
}

func (w *watcher) close() { w.client.Close() }

// watch reads until ctx is done.
func (w *watcher) watch(ctx context.Context) error {
	for {
		fetches := w.client.PollFetches(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading results: %w", err)
		}
		for rec := range fetches.RecordsAll() {
			i, ok := w.index(rec.Key)
			switch {
			case !ok: // of somebody else
			case rec.Topic == w.cfg.Chunks:
				if err := w.chunk(ctx, rec, i, now); err != nil {
					return err
				}
			default:
				if err := w.result(ctx, rec, i, now); err != nil {
					return err
				}
			}
		}
	}
}

// index returns which request of this run a key belongs to.
func (w *watcher) index(key []byte) (int, bool) {
	rest, ours := bytes.CutPrefix(key, []byte(w.prefix))
	if !ours {
		return 0, false
	}
	i, err := strconv.Atoi(string(rest))
	return i, err == nil && i >= 0 && i < len(w.cfg.Schedule)
}

// chunk notes the first piece of text. The pieces before it say only that there
// will be some.
func (w *watcher) chunk(ctx context.Context, rec *kgo.Record, i int, now time.Time) error {
	if w.tally.began(i) {
		return nil
	}
	var c schemas.Chunk
	var err error
	if len(rec.Value) > 0 && rec.Value[0] == 0 {
		err = w.cfg.Codecs.Chunk.Decode(ctx, rec.Value, &c)
	} else {
		err = json.Unmarshal(rec.Value, &c)
	}
	if err != nil {
		return fmt.Errorf("decoding piece at %s/%d/%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	if c.Type == schemas.ChunkText {
		w.tally.begin(i, now)
	}
	return nil
}

func (w *watcher) result(ctx context.Context, rec *kgo.Record, i int, now time.Time) error {
	var r struct {
		Failure *schemas.Failure `json:"failure"`
	}
	var err error
	if len(rec.Value) > 0 && rec.Value[0] == 0 {
		var whole schemas.Result
		err = w.cfg.Codecs.Result.Decode(ctx, rec.Value, &whole)
		r.Failure = whole.Failure
	} else {
		err = json.Unmarshal(rec.Value, &r)
	}
	if err != nil {
		return fmt.Errorf("decoding result at %s/%d/%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	code := schemas.Code("")
	if r.Failure != nil {
		code = r.Failure.Code
	}
	w.tally.settle(i, now, code)
	return nil
}
