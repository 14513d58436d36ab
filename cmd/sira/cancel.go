package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/schemas"
)

func (c *cli) cancelCommand() *cobra.Command {
	var (
		tenant, replyTo string
		wait            bool
	)
	cmd := &cobra.Command{
		Use: "cancel ID...", Short: "Cancel requests", Args: cobra.MinimumNArgs(1),
		Long: `Says that nobody waits for the requests of these ids any more. Those that are not
answered yet get a result with the failure cancelled; what a provider is at work on
is ended there, where it can be. Requests that have their result keep it.

--wait prints the results, also of requests that have one already.`,
		Example: "  sira cancel --tenant acme 0192f0c1-7e2a-7cc0-8d52-2f3a1c9be001\n  sira cancel --tenant acme --wait r-1 r-2",
		RunE: func(cmd *cobra.Command, ids []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			return c.cancel(cmd, cfg, tenant, replyTo, ids, wait)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&tenant, "tenant", "t", "default", "whose requests these are")
	f.BoolVar(&wait, "wait", false, "wait for the results and print them")
	f.StringVar(&replyTo, "reply-to", "", "topic of their results, for --wait (default: the results topic)")
	return cmd
}

func (c *cli) cancel(cmd *cobra.Command, cfg app.Config, tenant, replyTo string, ids []string, wait bool) error {
	records := make([]*kgo.Record, len(ids))
	for i, id := range ids {
		said := schemas.Cancel{RequestID: id, Tenant: tenant}
		if err := said.Validate(); err != nil {
			return usageError{err}
		}
		value, err := json.Marshal(said)
		if err != nil {
			return fmt.Errorf("encoding the cancellation of %s: %w", id, err)
		}
		records[i] = &kgo.Record{Topic: cfg.Topic(app.TopicCancels), Key: []byte(id), Value: value, Headers: []kgo.RecordHeader{
			{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentTypeJSON)},
		}}
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
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("cancelling: %w", err)
	}
	if !wait {
		return nil
	}
	results, err := c.follow(ctx, cfg, resultTopic(cfg, replyTo), false)
	if err != nil {
		return err
	}
	defer results.close()
	waiting := make(map[string]bool, len(ids))
	for _, id := range ids {
		waiting[id] = true
	}
	return results.each(ctx, func(r *received) (bool, error) {
		if r.Tenant != tenant || !waiting[r.RequestID] {
			return true, nil
		}
		delete(waiting, r.RequestID)
		return len(waiting) > 0, c.printResult(cmd.OutOrStdout(), r)
	})
}
