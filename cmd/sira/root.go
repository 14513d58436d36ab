package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/schemas/avro"
)

// cli is what all commands share.
type cli struct {
	configFile string
	dataDir    string
	logLevel   string
	json       bool
}

func newRoot() *cobra.Command {
	c := &cli{}
	root := &cobra.Command{
		Use:   "sira",
		Short: "Event-streaming gateway to AI providers",
		Long: `Sira takes inference requests from Kafka topics, routes and balances them over AI
providers, and publishes exactly one result and one cost for each.

Without a configuration file everything runs in this process, on loopback: an
embedded Kafka broker, schema registry and ClickHouse engine, and simulated
providers.`,
		Example: `  sira demo                          see it work, with a report at the end
  sira up                            run everything, with embedded defaults
  sira enqueue --model gpt-4o-mini "What is a log?"
  sira results --follow
  sira sql "SELECT model, count() FROM requests GROUP BY model"`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	f := root.PersistentFlags()
	f.StringVarP(&c.configFile, "config", "c", "", "configuration document (default: sira.yaml if there is one, else embedded defaults)")
	f.StringVar(&c.dataDir, "data", "", "folder of the embedded services (default: data_dir of the configuration)")
	f.StringVar(&c.logLevel, "log", "warn", "log level: debug, info, warn or error")
	f.BoolVar(&c.json, "json", false, "print JSON, one value a line")
	root.AddCommand(c.upCommand(), c.runCommand(), c.demoCommand(), c.enqueueCommand(), c.cancelCommand(), c.resultsCommand(), c.sqlCommand(), c.checkCommand(),
		c.topicsCommand(), c.deadCommand(), c.auditCommand(), c.detectCommand(), c.routeCommand(), c.modelsCommand(), c.providerCommand(), c.versionCommand(),
		c.pricesCommand(),
		c.costCommand(), c.budgetCommand(), c.forecastCommand(), c.adviceCommand(), c.benchCommand(), c.doctorCommand(),
		c.alertsCommand(), c.healthCommand(), c.reportCommand())
	strict(root)
	return root
}

// strict makes wrong arguments and unknown commands of the whole tree mistakes of
// the caller. A command that only groups others shows its help.
func strict(cmd *cobra.Command) {
	args := cmd.Args
	if cmd.HasSubCommands() {
		args = knownCommand
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if args == nil {
			return nil
		}
		if err := args(cmd, given); err != nil {
			return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("there is no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no command %q", args[0])
}

// config reads the configuration.
func (c *cli) config() (app.Config, error) {
	cfg, err := c.load()
	if err != nil {
		return cfg, usageError{err}
	}
	if c.dataDir != "" {
		cfg.DataDir = c.dataDir
	}
	return cfg, nil
}

func (c *cli) load() (app.Config, error) {
	if c.configFile != "" {
		return app.Load(c.configFile)
	}
	cfg, err := app.Load("sira.yaml")
	if errors.Is(err, fs.ErrNotExist) {
		cfg = app.Defaults()
		cfg.Version = "defaults"
		return cfg, nil
	}
	return cfg, err
}

func (c *cli) logger() (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.logLevel)
	if err != nil {
		return nil, usageError{fmt.Errorf("--log: %w", err)}
	}
	z := zap.NewProductionConfig()
	z.Level = zap.NewAtomicLevelAt(level)
	z.DisableStacktrace, z.DisableCaller = true, true
	z.EncoderConfig.EncodeTime = zapcore.RFC3339TimeEncoder
	z.Sampling = &zap.SamplingConfig{Initial: 20, Thereafter: 100}
	return z.Build()
}

// clients connects a tool to the Kafka and the registry of the configuration.
func (c *cli) clients(cfg app.Config, opts ...kgo.Opt) (*kgo.Client, *avro.Codecs, *avro.Registry, error) {
	registry, err := cfg.OpenRegistry()
	if err != nil {
		return nil, nil, nil, err
	}
	client, err := cfg.Client().NewClient(zap.NewNop(), nil, opts...)
	if err != nil {
		return nil, nil, nil, err
	}
	return client, avro.NewCodecs(registry), registry, nil
}

// ping says in plain words that Kafka can't be reached.
func ping(ctx context.Context, cl *kgo.Client, cfg app.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return fmt.Errorf("no Kafka broker answers at %s: start one with `sira up`, or name yours under kafka.brokers: %w", strings.Join(cfg.Client().Brokers, ", "), err)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Example: "  sira version\n  sira version --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if c.json {
				return printJSON(out, map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(out, "sira %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
