package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/anomaly/incident"
	"github.com/sira-ai/sira/handlers/anomaly/predict"
)

func (c *cli) replayCommand() *cobra.Command {
	plan, policy := incident.DefaultPlan(), predict.DefaultPolicy()
	var file, pictures string
	cmd := &cobra.Command{
		Use: "replay", Short: "Measure the failure predictor on simulated incidents", Args: cobra.NoArgs,
		Long: `Simulates a model's endpoints with incidents, twice in one run: with weights that
follow the predicted probability of failure, and with weights that stay. Prints how
good the predictions are, how early they come, and what share of requests fails.
The same seed gives the same figures.`,
		Example: "  sira detect replay\n  sira detect replay --seed 7 --days 2 --json\n  sira detect replay --svg docs/images",
		RunE: func(cmd *cobra.Command, _ []string) error {
			model, err := readModel(file)
			if err != nil {
				return usageError{err}
			}
			report, err := incident.Evaluate(plan, model, policy)
			if err != nil {
				return usageError{err}
			}
			if pictures != "" {
				if err := draw(pictures, report); err != nil {
					return err
				}
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), report)
			}
			return printReplay(cmd.OutOrStdout(), report)
		},
	}
	planFlags(cmd, &plan)
	f := cmd.Flags()
	f.Uint64Var(&plan.Seed, "seed", 12, "seed of the incidents and the traffic")
	f.StringVar(&file, "model", "", "model to measure (default: the one that comes with Sira)")
	f.StringVar(&pictures, "svg", "", "folder to write pictures to")
	f.Float64Var(&policy.Enter, "enter", policy.Enter, "probability from which calls are withheld")
	return cmd
}

func (c *cli) trainCommand() *cobra.Command {
	plan := incident.DefaultPlan()
	var seed uint64
	cmd := &cobra.Command{
		Use: "train", Short: "Train the failure predictor on simulated incidents", Args: cobra.NoArgs,
		Long: `Simulates incidents, fits the predictor to them, and prints the model as JSON. The
model is then replayed against the present one, on incidents that neither has seen:
exit code 3 if it is worse. Takes minutes with the defaults.`,
		Example: "  sira detect train > model.json\n  sira detect train --days 1 --seed 500 > model.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			model, err := incident.Train(plan, []uint64{seed, seed + 1, seed + 2, seed + 3})
			if err != nil {
				return usageError{err}
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			if err := e.Encode(model); err != nil {
				return err
			}
			return challenge(plan, seed+100, model)
		},
	}
	planFlags(cmd, &plan)
	cmd.Flags().Uint64Var(&seed, "seed", 101, "first of four seeds")
	return cmd
}

// planFlags are those that training and replay share.
func planFlags(cmd *cobra.Command, p *incident.Plan) {
	days := durationDays{&p.Length}
	cmd.Flags().Var(days, "days", "length of the simulation")
	cmd.Flags().Float64Var(&p.Rate, "rate", p.Rate, "requests a second of all endpoints together")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if !(p.Rate > 0 && p.Rate <= 500) {
			return usageError{fmt.Errorf("--rate is %v: write a number above 0 and up to 500", p.Rate)}
		}
		if p.Length < 12*time.Hour || p.Length > 60*24*time.Hour {
			return usageError{fmt.Errorf("--days is %s: write 0.5 to 60", days)}
		}
		return nil
	}
}

// durationDays is a flag in days.
type durationDays struct{ d *time.Duration }

func (d durationDays) String() string {
	if d.d == nil {
		return ""
	}
	return fmt.Sprintf("%g", d.d.Hours()/24)
}

func (d durationDays) Type() string { return "days" }

func (d durationDays) Set(text string) error {
	var days float64
	if _, err := fmt.Sscanf(text, "%g", &days); err != nil {
		return fmt.Errorf("%q is no number of days", text)
	}
	*d.d = time.Duration(days * 24 * float64(time.Hour))
	return nil
}

func readModel(file string) (*predict.Model, error) {
	if file == "" {
		return predict.Default()
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading model: %w", err)
	}
	return predict.Read(b)
}

// challenge compares a new model with the present one.
func challenge(plan incident.Plan, seed uint64, model *predict.Model) error {
	present, err := predict.Default()
	if err != nil {
		return err
	}
	plan.Seed = seed
	was, err := incident.Evaluate(plan, present, predict.DefaultPolicy())
	if err != nil {
		return err
	}
	is, err := incident.Evaluate(plan, model, predict.DefaultPolicy())
	if err != nil {
		return err
	}
	if err := is.Worse(was); err != nil {
		return findingError{fmt.Errorf("the new model is worse than the present one: %w", err)}
	}
	return nil
}

// draw writes the pictures of a report.
func draw(dir string, r *incident.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	for name, picture := range r.Pictures() {
		if err := os.WriteFile(filepath.Join(dir, name), picture, 0o644); err != nil { //nolint:gosec // a picture for the docs
			return fmt.Errorf("drawing: %w", err)
		}
	}
	return nil
}

func printReplay(w io.Writer, r *incident.Report) error {
	percent := func(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "incidents\t%d, bringing down %d endpoints\n", r.Incidents, r.Failures)
	fmt.Fprintf(t, "alerts\t%d, right %.1f %% (precision)\n", r.Alerts, 100*r.Precision)
	fmt.Fprintf(t, "failures\t%.1f %% noticed (recall), %.1f %% before they began\n", 100*r.Recall, 100*r.Foreseen)
	fmt.Fprintf(t, "Brier score\t%.5f, %.5f for always saying the mean (skill %.2f)\n", r.Brier, r.Climate, 1-r.Brier/r.Climate)
	fmt.Fprintf(t, "weight shifts\t%d, at most %d for an endpoint in an incident, %d outside of failures\n", r.Shifts.Total, r.Shifts.Most, r.Shifts.Elsewhere)
	fmt.Fprintf(t, "traffic withheld\t%.2f %% from endpoints that did not fail\n", 100*r.Diverted)
	fmt.Fprintln(t, "\t\t\nrequests\tprediction off\tprediction on\tratio")
	for _, l := range []struct {
		what       string
		off, on    int
		offN, onNN int
	}{
		{"first attempt failed, %", r.Off.Failed, r.On.Failed, r.Off.Requests, r.On.Requests},
		{"the same during incidents, %", r.Off.TroubledFailed, r.On.TroubledFailed, r.Off.TroubledRequests, r.On.TroubledRequests},
		{"failed after a second attempt, %", r.Off.Lost, r.On.Lost, r.Off.Requests, r.On.Requests},
		{"the same during incidents, %", r.Off.TroubledLost, r.On.TroubledLost, r.Off.TroubledRequests, r.On.TroubledRequests},
		{"slow first token, %", r.Off.Slow, r.On.Slow, r.Off.Requests, r.On.Requests},
	} {
		off, on := percent(l.off, l.offN), percent(l.on, l.onNN)
		fmt.Fprintf(t, "%s\t%.4f\t%.4f\t%.2f\n", l.what, off, on, on/max(off, 1e-9))
	}
	fmt.Fprintln(t, "\t\t\nkind\tincidents\tfailures\tnoticed\tbefore\tmedian lead, s\talerts")
	for _, k := range r.Kinds {
		lead := "-"
		if k.Caught > 0 {
			lead = fmt.Sprintf("%+.0f", k.Lead)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%d\n", k.Kind, k.Incidents, k.Failures, k.Caught, k.Early, lead, k.Alerts)
	}
	return t.Flush()
}
