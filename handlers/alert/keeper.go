package alert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/schemas"
)

// Looker finds out which conditions of a rule hold now.
type Looker interface {
	Look(ctx context.Context, rule string, now time.Time) ([]Finding, error)
}

// Store keeps alerts for whoever is next.
type Store interface {
	// Load returns the last state of each alert that matters still.
	Load(ctx context.Context, now time.Time) ([]schemas.Alert, error)
	Save(ctx context.Context, all []schemas.Alert, now time.Time) error
}

// Silencer knows what people want to hear nothing of.
type Silencer interface {
	Silences(ctx context.Context, now time.Time) ([]schemas.AlertSilence, error)
}

// Sender tells a receiver.
type Sender interface {
	Send(ctx context.Context, n *schemas.AlertNotice) error
}

// KeeperConfig is what a Keeper works with.
type KeeperConfig struct {
	Every     time.Duration
	Rules     []Rule
	Receivers []Receiver // complete
	Looker    Looker
	Store     Store
	Silencer  Silencer
	Senders   map[string]Sender // by the name of the receiver
	// Leads reports whether this process is the one that keeps the alerts.
	Leads   func() bool
	Log     *zap.Logger
	Metrics prometheus.Registerer // nil: none
}

// Keeper looks at the rules, keeps the board and tells the receivers. Run it once.
type Keeper struct {
	cfg      KeeperConfig
	board    *Board // nil: another process leads, or the past is not read yet
	silences []Silence
	blind    map[string]string // rules that could not be looked at, with the sentence to tell
	resting  map[string]rest   // receivers that could not be reached
	warned   map[string]bool   // what was logged already

	firing  *prometheus.GaugeVec
	looks   *prometheus.CounterVec
	notices *prometheus.CounterVec
	took    prometheus.Histogram
}

// rest is when a receiver is tried again.
type rest struct {
	until time.Time
	wait  time.Duration
}

const (
	// selfRule tells that a rule can't be looked at.
	selfRule = "alerts_blind"
	// blindFor is how long that may be so before people are told.
	blindFor = 5 * time.Minute
	// askLimit bounds a question to the store.
	askLimit = 30 * time.Second
	// restLimit bounds the pause after a receiver could not be reached.
	restLimit = 5 * time.Minute
)

// NewKeeper returns a keeper. It opens nothing.
func NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	cfg.Rules = append(slices.Clone(cfg.Rules), Rule{Name: selfRule, Kind: KindSelf, Severity: Page, For: blindFor})
	return &Keeper{
		cfg: cfg, blind: map[string]string{}, resting: map[string]rest{}, warned: map[string]bool{},
		firing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sira_alerts_firing", Help: "Alerts that are firing, silenced ones included, by severity; 0 where another process keeps them.",
		}, []string{"severity"}),
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sira_alert_looks_total", Help: "Looks at rules by outcome: ok, failed.",
		}, []string{"outcome"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sira_alert_notices_total", Help: "Notices by receiver and outcome: delivered, failed.",
		}, []string{"receiver", "outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sira_alert_look_seconds", Help: "Time that a look at all rules took.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
		}),
	}
}

// Run keeps the alerts until ctx is done.
func (k *Keeper) Run(ctx context.Context) error {
	if k.cfg.Metrics != nil {
		for _, c := range []prometheus.Collector{k.firing, k.looks, k.notices, k.took} {
			if err := k.cfg.Metrics.Register(c); err != nil {
				return fmt.Errorf("registering metrics: %w", err)
			}
			defer k.cfg.Metrics.Unregister(c)
		}
	}
	for _, severity := range []string{Page, Ticket} {
		k.firing.WithLabelValues(severity).Set(0)
	}
	tick := time.NewTicker(k.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.step(ctx, time.Now())
		case <-ctx.Done():
			return nil
		}
	}
}

// step looks at everything once.
func (k *Keeper) step(ctx context.Context, now time.Time) {
	if !k.cfg.Leads() {
		k.board = nil
		k.count()
		return
	}
	if k.board == nil && !k.load(ctx, now) {
		return
	}
	k.judge(ctx, now)
	if ctx.Err() != nil { // half a look is none
		return
	}
	k.took.Observe(time.Since(now).Seconds())
	k.readSilences(ctx, now)
	k.save(ctx, now) // before anybody is told: who takes over should know why
	for _, n := range k.tell(ctx, k.board.Due(k.cfg.Receivers, k.cfg.Rules, k.silences, now), now) {
		k.board.Told(n, now)
	}
	k.save(ctx, now)
	k.count()
}

func (k *Keeper) load(ctx context.Context, now time.Time) bool {
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	past, err := k.cfg.Store.Load(limit, now)
	if k.note("reading the state of alerts", err) {
		return false
	}
	k.board = NewBoard(past)
	names := make([]string, len(k.cfg.Rules))
	for i := range k.cfg.Rules {
		names[i] = k.cfg.Rules[i].Name
	}
	k.board.Retire(names, now)
	return true
}

// judge looks at the rules. One that can't be looked at leaves its alerts as they
// are: not to see trouble is not its end.
func (k *Keeper) judge(ctx context.Context, now time.Time) {
	for i := range k.cfg.Rules {
		r := &k.cfg.Rules[i]
		if r.Kind == KindSelf {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, askLimit)
		found, err := k.cfg.Looker.Look(limit, r.Name, now)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if k.note("looking at rule "+r.Name, err) {
			k.looks.WithLabelValues("failed").Inc()
			k.blind[r.Name] = "the rule " + r.Name + " can't be looked at; the log of the analyst says why"
			continue
		}
		k.looks.WithLabelValues("ok").Inc()
		delete(k.blind, r.Name)
		k.board.Judge(r, found, now)
	}
	var found []Finding
	for rule, summary := range k.blind {
		found = append(found, Finding{Labels: map[string]string{"blind": rule}, Level: 1, Value: 1, Summary: summary})
	}
	k.board.Judge(&k.cfg.Rules[len(k.cfg.Rules)-1], found, now)
}

// readSilences keeps those of before where there are no news.
func (k *Keeper) readSilences(ctx context.Context, now time.Time) {
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	all, err := k.cfg.Silencer.Silences(limit, now)
	if k.note("reading silences", err) {
		return
	}
	k.silences = k.silences[:0]
	for _, s := range all {
		parsed, err := ParseSilence(s)
		if k.note("reading silence "+s.ID, err) {
			continue
		}
		k.silences = append(k.silences, parsed)
	}
}

func (k *Keeper) save(ctx context.Context, now time.Time) {
	all := k.board.Unsaved(now)
	if len(all) == 0 {
		return
	}
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if !k.note("writing the state of alerts", k.cfg.Store.Save(limit, all, now)) {
		k.board.Saved(all, now)
	}
}

// tell sends notices, the receivers side by side, and returns those that arrived.
func (k *Keeper) tell(ctx context.Context, due []schemas.AlertNotice, now time.Time) []*schemas.AlertNotice {
	by := map[string][]*schemas.AlertNotice{}
	for i := range due {
		if n := &due[i]; !now.Before(k.resting[n.Receiver].until) {
			by[n.Receiver] = append(by[n.Receiver], n)
		}
	}
	var mu sync.Mutex
	var told []*schemas.AlertNotice
	failures := map[string]error{}
	var posts sync.WaitGroup
	for receiver, all := range by {
		posts.Go(func() {
			for _, n := range all {
				err := k.send(ctx, n)
				mu.Lock()
				failures[receiver] = err
				if err == nil {
					told = append(told, n)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	posts.Wait()
	for receiver, err := range failures {
		k.rest(receiver, err, now)
	}
	return told
}

var errNoSender = errors.New("the receiver has no address")

func (k *Keeper) send(ctx context.Context, n *schemas.AlertNotice) error {
	s := k.cfg.Senders[n.Receiver]
	if s == nil {
		return errNoSender
	}
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	err := s.Send(limit, n)
	outcome := "delivered"
	if err != nil {
		outcome = "failed"
	}
	k.notices.WithLabelValues(n.Receiver, outcome).Inc()
	return err
}

// rest gives a receiver that can't be reached a pause that doubles.
func (k *Keeper) rest(receiver string, err error, now time.Time) {
	if !k.note("telling "+receiver, err) {
		delete(k.resting, receiver)
		return
	}
	wait := min(max(2*k.resting[receiver].wait, k.cfg.Every), restLimit)
	k.resting[receiver] = rest{now.Add(wait), wait}
}

// note logs the first of a row of failures and reports whether this is one.
func (k *Keeper) note(what string, err error) bool {
	if err == nil {
		delete(k.warned, what)
		return false
	}
	if !k.warned[what] && !errors.Is(err, context.Canceled) {
		k.warned[what] = true
		k.cfg.Log.Warn(what, zap.Error(err))
	}
	return true
}

func (k *Keeper) count() {
	sums := map[string]float64{Page: 0, Ticket: 0}
	if k.board != nil {
		for _, a := range k.board.alerts {
			if a.State == schemas.AlertFiring {
				sums[a.Severity]++
			}
		}
	}
	for severity, n := range sums {
		k.firing.WithLabelValues(severity).Set(n)
	}
}
