package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/anomaly"
	"github.com/sira-ai/sira/handlers/anomaly/gaussian"
	"github.com/sira-ai/sira/handlers/anomaly/nab"
	"github.com/sira-ai/sira/handlers/anomaly/surprise"
	"github.com/sira-ai/sira/pipeline/catalog"
)

func detectors() *catalog.Catalog[anomaly.Detector] {
	return catalog.New("detector", gaussian.Entry, surprise.Entry)
}

// bestDetector is the kind that is scored unless another is named.
const bestDetector = "surprise"

func (c *cli) detectCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "detect", Short: "Measure anomaly detectors"}
	var o scoring
	score := &cobra.Command{
		Use: "score DIR", Short: "Score a detector on labelled series, by the rule of NAB", Args: cobra.ExactArgs(1),
		Long: `Reads a folder in the layout of the Numenta Anomaly Benchmark (data/*/*.csv,
labels/combined_windows.json, config/profiles.json), gives every series to a detector
of its own, and prints its score under each profile: 0 is a detector that never
fires, 100 a perfect one. All series are run with the same settings. The threshold
is the best one for this very folder, as in all published figures.

With --results the anomaly scores that another program wrote in NAB's layout are
scored instead. Exit code 2 if the folder is not in the layout.`,
		Example: `  sira detect score NAB
  sira detect score NAB --detector gaussian --series
  sira detect score NAB --results NAB/results/numenta --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.dir = args[0]
			if f := cmd.Flags(); o.results != "" && (f.Changed("detector") || f.Changed("settings")) {
				return usageError{errors.New("--results are scored as they are: write either --results, or --detector and --settings")}
			}
			return c.score(cmd, o)
		},
	}
	f := score.Flags()
	f.StringVar(&o.detector, "detector", bestDetector, "kind of detector: "+strings.Join(detectors().Kinds(), ", "))
	f.StringVar(&o.settings, "settings", "", "settings of the detector as JSON (default: its own)")
	f.StringVar(&o.results, "results", "", "folder with the scores of another detector")
	f.BoolVar(&o.series, "series", false, "print what each series adds, too")
	cmd.AddCommand(score, c.replayCommand(), c.trainCommand())
	return cmd
}

// scoring is what is to be scored.
type scoring struct {
	dir, detector, settings, results string
	series                           bool
}

// scored is a Result as it is printed.
type scored struct {
	Detector    string         `json:"detector"`
	Profile     string         `json:"profile"`
	Score       float64        `json:"score"`
	Threshold   *float64       `json:"threshold"` // null: never fire
	Windows     int            `json:"windows"`
	Found       int            `json:"found"`
	Missed      int            `json:"missed"`
	FalseAlarms int            `json:"false_alarms"` // rows
	Rows        int            `json:"rows"`
	NsPerRow    float64        `json:"ns_per_row,omitempty"`
	Series      []scoredSeries `json:"series,omitempty"`
}

type scoredSeries struct {
	Name        string  `json:"name"`
	Raw         float64 `json:"raw"`
	Found       int     `json:"found"`
	Missed      int     `json:"missed"`
	FalseAlarms int     `json:"false_alarms"`
}

func (c *cli) score(cmd *cobra.Command, o scoring) error {
	corpus, err := nab.Load(o.dir)
	if errors.Is(err, nab.ErrLayout) || errors.Is(err, fs.ErrNotExist) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	began := time.Now()
	name, scores, err := o.scores(cmd, corpus)
	if err != nil {
		return err
	}
	took := time.Since(began)
	results := make([]scored, len(corpus.Profiles))
	for i, p := range corpus.Profiles {
		r, err := corpus.Optimise(scores, p)
		if err != nil {
			return err
		}
		results[i] = newScored(name, r, corpus, o.series)
		if o.results == "" {
			results[i].NsPerRow = float64(took.Nanoseconds()) / float64(corpus.Rows())
		}
	}
	return c.printScored(cmd.OutOrStdout(), results)
}

// scores runs the detector, or reads what another one said.
func (o scoring) scores(cmd *cobra.Command, corpus *nab.Corpus) (string, [][]float64, error) {
	if o.results != "" {
		scores, err := corpus.ReadResults(o.results)
		if err != nil {
			err = usageError{err}
		}
		return o.results, scores, err
	}
	kinds := detectors()
	if err := kinds.Check(o.detector, json.RawMessage(o.settings)); err != nil {
		return "", nil, usageError{err}
	}
	scores, err := corpus.Run(cmd.Context(), func() (anomaly.Detector, error) {
		return kinds.Build(o.detector, json.RawMessage(o.settings), catalog.Env{})
	})
	return o.detector, scores, err
}

func newScored(name string, r nab.Result, corpus *nab.Corpus, series bool) scored {
	s := scored{
		Detector: name, Profile: r.Profile, Score: r.Score, Windows: corpus.Windows(),
		Found: r.Found, Missed: r.Missed, FalseAlarms: r.FalseAlarms, Rows: corpus.Rows(),
	}
	if r.Fires() {
		s.Threshold = &r.Threshold
	}
	if series {
		for _, one := range r.Series {
			s.Series = append(s.Series, scoredSeries(one))
		}
	}
	return s
}

func (c *cli) printScored(w io.Writer, results []scored) error {
	if c.json {
		for _, r := range results {
			if err := printJSON(w, r); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "detector\tprofile\tscore\tthreshold\tfound\tmissed\tfalse alarms")
	fmt.Fprintln(t, "--------\t-------\t-----\t---------\t-----\t------\t------------")
	for _, r := range results {
		threshold := "never fires"
		if r.Threshold != nil {
			threshold = strconv.FormatFloat(*r.Threshold, 'f', 4, 64)
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%s\t%d\t%d\t%d\n", r.Detector, r.Profile, r.Score, threshold, r.Found, r.Missed, r.FalseAlarms)
	}
	for _, r := range results {
		if len(r.Series) > 0 {
			fmt.Fprintf(t, "\nseries (%s)\traw\tfound\tmissed\tfalse alarms\n", r.Profile)
		}
		for _, s := range r.Series {
			fmt.Fprintf(t, "%s\t%.2f\t%d\t%d\t%d\n", s.Name, s.Raw, s.Found, s.Missed, s.FalseAlarms)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	r := results[0]
	_, err := fmt.Fprintf(w, "%d windows, %d rows", r.Windows, r.Rows)
	if err == nil && r.NsPerRow > 0 {
		_, err = fmt.Fprintf(w, ", %.0f ns a row (wall clock)", r.NsPerRow)
	}
	fmt.Fprintln(w)
	return err
}
