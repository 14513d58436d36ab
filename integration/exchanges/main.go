// Command exchanges replays recorded calls to real vendors through Sira's
// adapters and compares what they make of the answers with what the bodies say,
// read without the adapters.
//
//	exchanges [-v] [-json] DIR
//
// DIR holds <provider>/*.jsonl, one exchange a line. It ends with status 1 if any
// exchange is read wrongly or none was found, and with 2 if it can't be run.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

func main() {
	verbose := flag.Bool("v", false, "show every difference in full")
	asJSON := flag.Bool("json", false, "print the counts as JSON")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: exchanges [-v] [-json] DIR\n\nDIR holds <provider>/*.jsonl, one recorded exchange a line.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	err := run(os.Stdout, flag.Arg(0), *verbose, *asJSON)
	switch {
	case errors.Is(err, errWrong):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// errWrong says that the adapters, not the tool, are at fault.
var errWrong = errors.New("exchanges were read wrongly")

// count is what became of the exchanges of one operation.
type count struct {
	Provider  string `json:"provider"`
	Operation string `json:"operation"`
	As        string `json:"as,omitempty"` // Sira's operation; empty: it has none
	Read      int    `json:"read"`
	Failures  int    `json:"failures"`
	Skipped   int    `json:"skipped"` // operations that Sira doesn't have

	complaints []string
}

func run(out io.Writer, dir string, verbose, asJSON bool) error {
	all, err := load(dir)
	if err != nil {
		return err
	}
	counts := make(map[[2]string]*count)
	for _, x := range all {
		key := [2]string{x.Provider, x.Op}
		c := counts[key]
		if c == nil {
			c = &count{Provider: x.Provider, Operation: x.Op}
			counts[key] = c
		}
		as, wrong, err := check(x)
		switch {
		case err != nil:
			return fmt.Errorf("replaying %s: %w", x.ID, err)
		case as == "":
			c.Skipped++
			continue
		}
		c.As = as
		c.Read++
		if len(wrong) > 0 {
			c.Failures++
			c.complaints = append(c.complaints, fmt.Sprintf("%s (line %d of %s): %v", x.ID, x.line, x.file, wrong))
		}
	}
	rows := make([]*count, 0, len(counts))
	for _, c := range counts {
		rows = append(rows, c)
	}
	slices.SortFunc(rows, func(a, b *count) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(b.Read, a.Read), cmp.Compare(a.Operation, b.Operation))
	})
	return report(out, rows, verbose, asJSON)
}

func report(out io.Writer, rows []*count, verbose, asJSON bool) error {
	read, failures, skipped := 0, 0, 0
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(w, "PROVIDER\tOPERATION\tAS\tREAD\tFAILED\tNOT IN SIRA")
	}
	for _, c := range rows {
		read, failures, skipped = read+c.Read, failures+c.Failures, skipped+c.Skipped
		if !asJSON {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\n", c.Provider, c.Operation, cmp.Or(c.As, "-"), c.Read, c.Failures, c.Skipped)
		}
	}
	if asJSON {
		if err := json.NewEncoder(out).Encode(rows); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(w, "total\t\t\t%d\t%d\t%d\n", read, failures, skipped)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for _, c := range rows {
		for i, text := range c.complaints {
			if i == 5 && !verbose {
				fmt.Fprintf(os.Stderr, "… and %d more of %s %s\n", len(c.complaints)-5, c.Provider, c.Operation)
				break
			}
			if len(text) > 600 && !verbose {
				text = text[:600] + "…"
			}
			fmt.Fprintf(os.Stderr, "%s %s: %s\n", c.Provider, c.Operation, text)
		}
	}
	switch {
	case read == 0:
		return fmt.Errorf("%w: there is none that Sira has an operation for", errWrong)
	case failures > 0:
		return fmt.Errorf("%w: %d of %d", errWrong, failures, read)
	}
	return nil
}
