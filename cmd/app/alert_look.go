package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/alert"
	"github.com/sira-ai/sira/handlers/anomaly"
	"github.com/sira-ai/sira/handlers/anomaly/surprise"
	"github.com/sira-ai/sira/handlers/cost/budget"
	"github.com/sira-ai/sira/handlers/cost/forecast"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// AlertLooker finds out from ClickHouse which conditions of the configured rules
// hold. It is not safe for concurrent use.
type AlertLooker struct {
	conn    driver.Conn
	rules   map[string]func(ctx context.Context, now time.Time) ([]alert.Finding, error)
	budgets []budget.Config
	watches map[string]*alert.Watch
	spend   map[string]prospect // of each rule and budget
}

// prospect is a forecast, which holds for an hour.
type prospect struct {
	hour time.Time
	made *forecast.Forecast // nil: the past is too short
}

// NewAlertLooker returns what looks at the rules of a document that was loaded.
func NewAlertLooker(c *Config, conn driver.Conn) (*AlertLooker, error) {
	l := &AlertLooker{
		conn: conn, budgets: c.Budgets, watches: map[string]*alert.Watch{}, spend: map[string]prospect{},
		rules: map[string]func(context.Context, time.Time) ([]alert.Finding, error){},
	}
	rules := &c.Alerts
	for i := range rules.Burn {
		r := &rules.Burn[i]
		l.rules[r.Name] = func(ctx context.Context, now time.Time) ([]alert.Finding, error) { return l.burn(ctx, r, now) }
	}
	for i := range rules.Anomaly {
		r := &rules.Anomaly[i]
		l.watches[r.Name] = alert.NewWatch(r, newSurprises)
		l.rules[r.Name] = func(ctx context.Context, now time.Time) ([]alert.Finding, error) { return l.anomaly(ctx, r, now) }
	}
	for i := range rules.Budget {
		r := &rules.Budget[i]
		l.rules[r.Name] = func(ctx context.Context, now time.Time) ([]alert.Finding, error) { return l.budget(ctx, r, now) }
	}
	for i := range rules.Forecast {
		r := &rules.Forecast[i]
		l.rules[r.Name] = func(ctx context.Context, now time.Time) ([]alert.Finding, error) { return l.forecast(ctx, r, now) }
	}
	return l, nil
}

// Look implements alert.Looker.
func (l *AlertLooker) Look(ctx context.Context, rule string, now time.Time) ([]alert.Finding, error) {
	look := l.rules[rule]
	if look == nil {
		return nil, fmt.Errorf("there is no rule %q", rule)
	}
	return look(ctx, now)
}

// burn counts short windows from requests and long ones from the rollup.
func (l *AlertLooker) burn(ctx context.Context, r *alert.BurnRule, now time.Time) ([]alert.Finding, error) {
	scope := clickhouse.Scope{By: r.By, Models: r.Models, Tenants: r.Tenants, Ignore: r.Ignore, Now: now}
	counts := map[string]*alert.Count{}
	add := func(windows []time.Duration, count func(context.Context, driver.Conn, clickhouse.Scope, time.Duration, []time.Duration) ([]clickhouse.Tally, error)) error {
		if len(windows) == 0 {
			return nil
		}
		all, err := count(ctx, l.conn, scope, r.Within, windows)
		for _, t := range all {
			id := alert.ID("", t.Labels)
			if counts[id] == nil {
				counts[id] = &alert.Count{Labels: t.Labels, Windows: map[time.Duration]alert.Ratio{}}
			}
			for i, w := range windows {
				counts[id].Windows[w] = alert.Ratio{Bad: t.Bad[i], All: t.All[i]}
			}
		}
		return err
	}
	var short, long []time.Duration
	for _, w := range r.Lengths() {
		if w <= alert.RawLimit {
			short = append(short, w)
		} else {
			long = append(long, w)
		}
	}
	if err := errors.Join(add(short, clickhouse.CountBad), add(long, clickhouse.CountBadByHour)); err != nil {
		return nil, err
	}
	out := make([]alert.Count, 0, len(counts))
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, *counts[id])
	}
	return r.Find(out), nil
}

// anomaly lets the detectors see the steps that are new and whole. The last one is
// left a minute for its rows to arrive.
func (l *AlertLooker) anomaly(ctx context.Context, r *alert.AnomalyRule, now time.Time) ([]alert.Finding, error) {
	w, now := l.watches[r.Name], now.Add(-time.Minute).Truncate(r.Step)
	from := w.Since(now)
	scope := clickhouse.Scope{By: r.By, Models: r.Models, Tenants: r.Tenants, Ignore: r.Ignore, Now: now}
	var all []alert.Series
	if from.Before(now) {
		steps, err := clickhouse.Measure(ctx, l.conn, scope, r.Measure, r.Currency, from, r.Step)
		if err != nil {
			return nil, err
		}
		for i := range steps {
			all = append(all, points(&steps[i]))
		}
	}
	return w.Find(all, now)
}

func points(s *clickhouse.Steps) alert.Series {
	out := alert.Series{Labels: s.Labels, Points: make([]alert.Point, len(s.At))}
	for i, at := range s.At {
		out.Points[i] = alert.Point{At: at, Value: s.Value[i]}
	}
	return out
}

// surprises is the detector for any series, as alerts see it.
type surprises struct{ anomaly.Detector }

func newSurprises() (alert.Detector, error) {
	d, err := surprise.New(surprise.Config{Memory: 2000, Warmup: 100, Rest: 80}, catalog.Env{})
	return surprises{d}, err
}

func (s surprises) Observe(at time.Time, value float64) alert.Surprise {
	v := s.Detector.Observe(at, value)
	return alert.Surprise{Score: v.Score, Why: v.Reason.String()}
}

// watched returns the budgets that a rule is about, all but shadow ones if it names
// none.
func (l *AlertLooker) watched(ids []string) []*budget.Config {
	var out []*budget.Config
	for i := range l.budgets {
		b := &l.budgets[i]
		if slices.Contains(ids, b.ID) || len(ids) == 0 && b.Mode != budget.Shadow {
			out = append(out, b)
		}
	}
	return out
}

// left is what a budget has in its present window.
type left struct {
	from, to        time.Time
	spent, reserved decimal.Decimal
}

func (l *AlertLooker) left(ctx context.Context, b *budget.Config, now time.Time) (left, error) {
	zone, err := time.LoadLocation(b.Zone)
	if err != nil {
		return left{}, fmt.Errorf("budget %s: %w", b.ID, err)
	}
	var s left
	s.from, s.to = b.Window.Bounds(now, zone)
	// A decision of this window; before the first one nothing is spent in it.
	state, found, err := clickhouse.LastOfBudget(ctx, l.conn, b.ID, s.from)
	if err != nil {
		return s, err
	}
	if found {
		s.spent, s.reserved = state.Spent, state.Reserved
	}
	return s, nil
}

func (l *AlertLooker) budget(ctx context.Context, r *alert.BudgetRule, now time.Time) ([]alert.Finding, error) {
	var all []alert.Standing
	for _, b := range l.watched(r.Budgets) {
		s, err := l.left(ctx, b, now)
		if err != nil {
			return nil, err
		}
		used := s.spent.Add(s.reserved).Mul(decimal.NewFromInt(100)).DivRound(b.Limit, 4)
		all = append(all, alert.Standing{
			Budget: b.ID, Tenant: b.Tenant, Mode: string(b.Mode), Used: used.InexactFloat64(), Limit: b.Limit.String() + " " + b.Currency,
			Resets: s.to, Warnings: b.Warn,
		})
	}
	return r.Find(all), nil
}

// pastOfSpending is how much of the past a forecast learns from.
const pastOfSpending = 8 * 7 * 24 * time.Hour

func (l *AlertLooker) forecast(ctx context.Context, r *alert.ForecastRule, now time.Time) ([]alert.Finding, error) {
	var all []alert.Outlook
	for _, b := range l.watched(r.Budgets) {
		s, err := l.left(ctx, b, now)
		if err != nil {
			return nil, err
		}
		hour := now.Truncate(time.Hour)
		f, err := l.prospect(ctx, r, b, hour)
		if err != nil {
			return nil, err
		}
		o := alert.Outlook{
			Budget: b.ID, Tenant: b.Tenant, Mode: string(b.Mode), Resets: s.to, Left: b.Limit.Sub(s.spent).Sub(s.reserved).InexactFloat64(), Currency: b.Currency,
		}
		if f != nil && o.Left > 0 { // one that is used up is the business of budget rules
			e := f.Exhausts(o.Left)
			steps := e.Expected
			if r.When == "earliest" {
				steps = e.Earliest
			}
			if steps > 0 {
				o.Gone = hour.Add(time.Duration(steps) * time.Hour)
			}
		}
		all = append(all, o)
	}
	return r.Find(all, now), nil
}

// prospect returns the forecast of a budget's spending from an hour on, or nil where
// the past is too short for one.
func (l *AlertLooker) prospect(ctx context.Context, r *alert.ForecastRule, b *budget.Config, hour time.Time) (*forecast.Forecast, error) {
	key := r.Name + "\x00" + b.ID
	if p, ok := l.spend[key]; ok && p.hour.Equal(hour) {
		return p.made, nil
	}
	past, err := clickhouse.SpendByHour(ctx, l.conn, b.Tenant, b.Labels, b.Currency, hour.Add(-pastOfSpending), hour)
	if err != nil {
		return nil, err
	}
	cfg := forecast.Config{Season: r.Season, Horizon: int(r.Ahead / time.Hour), Level: 0.9}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("forecasting budget %s: %w", b.ID, err)
	}
	f, err := forecast.Make(past, cfg)
	if err != nil && !errors.Is(err, forecast.ErrTooShort) {
		return nil, fmt.Errorf("forecasting budget %s: %w", b.ID, err)
	}
	l.spend[key] = prospect{hour, f}
	return f, nil
}
