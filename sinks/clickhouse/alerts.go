package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sira-ai/sira/schemas"
)

// Alerts keeps the state of alerts and silences in the tables alerts and
// alert_silences. It is safe for concurrent use.
type Alerts struct {
	conn driver.Conn
}

// NewAlerts returns the tables behind a connection that stays the caller's.
func NewAlerts(conn driver.Conn) *Alerts { return &Alerts{conn} }

// lookBack is how old an alert may be that matters still. One that burns for longer
// is begun anew after a restart, and told of again.
const lookBack = 60 * 24 * time.Hour

const alertColumns = `since, rule, alert_id, kind, severity, labels, state, level, value, threshold, summary, runbook, seen_at, fired_at, resolved_at, told_state, told_level, told_at`

// Load returns the alerts that are not over, and those that are since a day.
func (t *Alerts) Load(ctx context.Context, now time.Time) ([]schemas.Alert, error) {
	day := now.Add(-24 * time.Hour)
	return t.query(ctx, `state IN ('pending', 'firing') AND since >= fromUnixTimestamp64Milli(?) OR state = 'resolved' AND resolved_at >= fromUnixTimestamp64Milli(?)`,
		now.Add(-lookBack).UnixMilli(), day.UnixMilli())
}

// Past returns the alerts that fired and were not over before from, the newest
// first, at most limit of them.
func (t *Alerts) Past(ctx context.Context, from time.Time, limit int) ([]schemas.Alert, error) {
	return t.query(ctx, `state = 'firing' OR state = 'resolved' AND resolved_at >= fromUnixTimestamp64Milli(?)
ORDER BY state = 'firing' DESC, fired_at DESC, alert_id LIMIT ?`, from.UnixMilli(), limit)
}

func (t *Alerts) query(ctx context.Context, where string, args ...any) ([]schemas.Alert, error) {
	rows, err := t.conn.Query(ctx, "SELECT "+alertColumns+" FROM alerts FINAL WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("reading alerts: %w", err)
	}
	defer rows.Close()
	var out []schemas.Alert
	for rows.Next() {
		var a schemas.Alert
		var state string
		var level int32
		var told map[string]string
		var levels map[string]int32
		var at map[string]time.Time
		err := rows.Scan(&a.Since, &a.Rule, &a.ID, &a.Kind, &a.Severity, &a.Labels, &state, &level, &a.Value, &a.Threshold, &a.Summary, &a.Runbook,
			&a.SeenAt, &a.FiredAt, &a.ResolvedAt, &told, &levels, &at)
		if err != nil {
			return nil, fmt.Errorf("reading alerts: %w", err)
		}
		a.State, a.Level, a.FiredAt, a.ResolvedAt = schemas.AlertState(state), int(level), moment(a.FiredAt), moment(a.ResolvedAt)
		a.Told = make(map[string]schemas.AlertTold, len(told))
		for receiver, s := range told {
			a.Told[receiver] = schemas.AlertTold{State: schemas.AlertState(s), Level: int(levels[receiver]), At: at[receiver]}
		}
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading alerts: %w", err)
	}
	return out, nil
}

// moment makes a zero time of the table's.
func moment(t time.Time) time.Time {
	if t.Unix() == 0 {
		return time.Time{}
	}
	return t
}

// stored makes the table's zero time of a zero time, which is out of its range.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return t.UTC()
}

// Save writes the present state of alerts.
func (t *Alerts) Save(ctx context.Context, all []schemas.Alert, _ time.Time) error {
	batch, err := t.conn.PrepareBatch(ctx, "INSERT INTO alerts ("+alertColumns+", written_at)")
	if err != nil {
		return fmt.Errorf("writing alerts: %w", err)
	}
	defer func() { _ = batch.Close() }() // after Send it has nothing to do
	for i := range all {
		a := &all[i]
		states, levels, at := map[string]string{}, map[string]int32{}, map[string]time.Time{}
		for receiver, told := range a.Told {
			states[receiver], levels[receiver], at[receiver] = string(told.State), int32(told.Level), told.At.UTC()
		}
		labels := a.Labels
		if labels == nil {
			labels = map[string]string{}
		}
		err := batch.Append(a.Since.UTC(), a.Rule, a.ID, a.Kind, a.Severity, labels, string(a.State), int32(a.Level), a.Value, a.Threshold, a.Summary, a.Runbook,
			stored(a.SeenAt), stored(a.FiredAt), stored(a.ResolvedAt), states, levels, at, time.Now().UTC())
		if err != nil {
			return fmt.Errorf("writing alerts: %w", err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("writing alerts: %w", err)
	}
	return nil
}

// Silences returns the silences that are not over, in the order of their ends.
func (t *Alerts) Silences(ctx context.Context, now time.Time) ([]schemas.AlertSilence, error) {
	rows, err := t.conn.Query(ctx, `SELECT silence_id, matchers, from_time, until_time, author, comment FROM alert_silences FINAL
WHERE until_time > fromUnixTimestamp64Milli(?) ORDER BY until_time, silence_id LIMIT 1000`, now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("reading silences: %w", err)
	}
	defer rows.Close()
	var out []schemas.AlertSilence
	for rows.Next() {
		var s schemas.AlertSilence
		if err := rows.Scan(&s.ID, &s.Matchers, &s.From, &s.Until, &s.Author, &s.Comment); err != nil {
			return nil, fmt.Errorf("reading silences: %w", err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading silences: %w", err)
	}
	return out, nil
}

// Silence writes a silence, in place of the one of the same ID.
func (t *Alerts) Silence(ctx context.Context, s schemas.AlertSilence) error {
	batch, err := t.conn.PrepareBatch(ctx, "INSERT INTO alert_silences (silence_id, matchers, from_time, until_time, author, comment, written_at)")
	if err != nil {
		return fmt.Errorf("writing silence: %w", err)
	}
	defer func() { _ = batch.Close() }() // after Send it has nothing to do
	if err := batch.Append(s.ID, s.Matchers, s.From.UTC(), s.Until.UTC(), s.Author, s.Comment, time.Now().UTC()); err != nil {
		return fmt.Errorf("writing silence: %w", err)
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("writing silence: %w", err)
	}
	return nil
}
