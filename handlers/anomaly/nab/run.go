package nab

import (
	"context"
	"fmt"
	"os"
	"path"
	"runtime"
	"sync"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly"
)

// Run gives every series to a detector of its own, several series at a time, and
// returns the anomaly score of every row. The detector sees times and values in
// their order and nothing else: no name, no length, no label.
func (c *Corpus) Run(ctx context.Context, build func() (anomaly.Detector, error)) ([][]float64, error) {
	scores := make([][]float64, len(c.Series))
	errs := make([]error, len(c.Series))
	var running sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range c.Series {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			scores[i], errs[i] = c.Series[i].run(ctx, build)
		})
	}
	running.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("running over %s: %w", c.Series[i].Name, err)
		}
	}
	return scores, nil
}

func (s *Series) run(ctx context.Context, build func() (anomaly.Detector, error)) ([]float64, error) {
	d, err := build()
	if err != nil {
		return nil, err
	}
	scores := make([]float64, len(s.Values))
	for k, v := range s.Values {
		if k%1024 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		scores[k] = d.Observe(s.At[k], v).Score
	}
	return scores, nil
}

// ReadResults reads the anomaly scores that another detector wrote in NAB's
// layout of results: for category/series.csv a file category/NAME_series.csv
// below dir, whose last element is NAME, with a column anomaly_score.
func (c *Corpus) ReadResults(dir string) ([][]float64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening results: %w", err)
	}
	defer root.Close()
	scores := make([][]float64, len(c.Series))
	for i := range c.Series {
		category, series := path.Split(c.Series[i].Name)
		name := path.Join(category, path.Base(dir)+"_"+series)
		if err := readRows(root.FS(), name, "anomaly_score", func(_ time.Time, v float64) {
			scores[i] = append(scores[i], v)
		}); err != nil {
			return nil, fmt.Errorf("reading results: %w", err)
		}
	}
	return scores, c.fits(scores)
}
