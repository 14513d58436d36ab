package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/cmd/sira/doctor"
)

func (c *cli) doctorCommand() *cobra.Command {
	strict, quiet := false, false
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what is most often wrong", Args: cobra.NoArgs,
		Long: `Examines the configuration, this machine, Kafka, the schema registry, ClickHouse and
the addresses of providers, changes nothing, and says what to write instead of what is
wrong. docs/doctor.md lists the checks. No key is shown, and no provider is asked
anything.

Exit code 3 if there is a failure; with --strict also if there is a warning.`,
		Example: "  sira doctor\n  sira doctor --config sira.yaml --strict\n  sira doctor --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := c.examine(cmd)
			if err != nil {
				return err
			}
			if err := c.printFindings(cmd.OutOrStdout(), found, quiet); err != nil {
				return err
			}
			counts := map[doctor.State]int{}
			for _, f := range found {
				counts[f.State]++
			}
			worst := doctor.Worst(found)
			if worst == doctor.Failure || (strict && worst == doctor.Warning) {
				return findingError{fmt.Errorf("%d failures, %d warnings", counts[doctor.Failure], counts[doctor.Warning])}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "take warnings for failures")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "leave out what is fine")
	return cmd
}

// examine returns the faults of the document if it can't be read, else what all
// checks found.
func (c *cli) examine(cmd *cobra.Command) ([]doctor.Finding, error) {
	cfg, err := c.config()
	if faults, ok := errors.AsType[app.Faults](err); ok {
		var out []doctor.Finding
		for _, f := range faults {
			out = append(out, doctor.Finding{Check: "document", State: doctor.Failure, Text: f.Error(), Instead: "sira check, until it says that the document is fine"})
		}
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	found := []doctor.Finding{{Check: "document", State: doctor.OK, Text: "The configuration is well-formed (version " + cfg.Version + ")."}}
	return append(found, doctor.Examine(cmd.Context(), cfg)...), nil
}

func (c *cli) printFindings(w io.Writer, found []doctor.Finding, quiet bool) error {
	for _, f := range found {
		if quiet && (f.State == doctor.OK || f.State == doctor.Skipped) {
			continue
		}
		var err error
		if c.json {
			err = printJSON(w, f)
		} else {
			_, err = fmt.Fprintf(w, "%-8s %-13s %s\n", f.State, f.Check, f.Text)
			if err == nil && f.Instead != "" {
				_, err = fmt.Fprintf(w, "%-22s instead: %s\n", "", f.Instead)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
