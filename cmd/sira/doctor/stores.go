package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/schemas/avro"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// trial stands in for a registry where codecs register their schemas: it asks
// whether the real one would take them.
type trial struct {
	registry *avro.Registry
	refused  []error
}

// Register implements avro.Registrar.
func (t *trial) Register(ctx context.Context, subject, schema string) (int, error) {
	err := t.registry.Compatible(ctx, subject, schema)
	if errors.Is(err, avro.ErrIncompatibleSchema) || errors.Is(err, avro.ErrInvalidSchema) {
		t.refused = append(t.refused, err)
		return 1, nil // the others are of interest, too
	}
	return 1, err
}

func reachRegistry(ctx context.Context, p *patient) []Finding {
	address := p.cfg.Registry.URL
	instead := "registry.url: an address that answers from here; mind registry.username and password, or token"
	if address == app.Embedded {
		address, instead = p.cfg.Registry.Listen, "sira up, which starts the embedded registry; or registry.url"
	}
	r, err := p.cfg.OpenRegistry()
	if err != nil {
		return []Finding{fail("registry: what docs/configuration.md says of it", "%v", err)}
	}
	if err := r.Compatible(ctx, "sira-doctor-of-no-topic-value", `"string"`); err != nil {
		return []Finding{fail(instead, "the registry at %s does not answer as it should: %v", hosts(address), err)}
	}
	p.up[needsRegistry] = true
	return ok("It answers at %s.", hosts(address))
}

// hosts leaves out logins and paths of a list of addresses.
func hosts(list string) string {
	var out []string
	for a := range strings.SplitSeq(list, ",") {
		if u, err := url.Parse(strings.TrimSpace(a)); err == nil && u.Host != "" {
			a = u.Host
		}
		out = append(out, a)
	}
	return strings.Join(out, ", ")
}

func schemasFit(ctx context.Context, p *patient) []Finding {
	r, err := p.cfg.OpenRegistry()
	if err != nil {
		return []Finding{{State: Skipped, Text: err.Error()}}
	}
	t := &trial{registry: r}
	if err := avro.NewCodecs(r).Register(ctx, t, p.cfg.Subjects()); err != nil {
		return []Finding{fail("rights to read subjects and to check schemas", "%v", err)}
	}
	var out []Finding
	for _, err := range t.refused {
		out = append(out, fail("compatibility BACKWARD for the subject, and its own schema there; another program may have written it (another kafka.prefix keeps apart)", "%v", err))
	}
	return out
}

func reachClickHouse(ctx context.Context, p *patient) []Finding {
	instead := "clickhouse.dsn: clickhouse://user:password@host:9000/database that answers from here"
	if p.cfg.ClickHouse.DSN == app.Embedded {
		instead = "sira up, which starts the embedded ClickHouse; or clickhouse.dsn"
	}
	conn, _, err := clickhouse.Open(p.cfg.ClickHouseDSN())
	if err != nil {
		return []Finding{fail(instead, "%v", err)}
	}
	p.tables = conn
	if err := conn.Ping(ctx); err != nil && !clickhouse.NotMade(err) { // that is for migrations to say
		return []Finding{fail(instead, "ClickHouse does not answer: %v", withoutAddress(err))}
	}
	p.up[needsClickHouse] = true
	return nil
}

// withoutAddress shortens errors of HTTP clients, which quote the address with all
// that is in it.
func withoutAddress(err error) error {
	if at, ok := errors.AsType[*url.Error](err); ok {
		return at.Err
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network
	}
	return err
}

func migrations(ctx context.Context, p *patient) []Finding {
	pending, err := clickhouse.Pending(ctx, p.tables)
	switch {
	case errors.Is(err, clickhouse.ErrChangedMigration):
		return []Finding{fail("the version of sira that made the tables, or another database", "%v", err)}
	case err != nil:
		return []Finding{fail("rights to read the tables of the database", "%v", err)}
	case len(pending) > 0:
		names := make([]string, len(pending))
		for i, m := range pending {
			names[i] = m.Name
		}
		return []Finding{warn("sira run --roles recorder, which brings the tables up to date first", "the tables lack %s: queries and reports of this version may fail", strings.Join(names, ", "))}
	}
	return nil
}

func ttl(ctx context.Context, p *patient) []Finding {
	rows, err := p.tables.Query(ctx, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN ('costs', 'costs_1h', 'adjustments', 'invoices', 'audit') AND engine_full LIKE '% TTL %' ORDER BY name")
	if clickhouse.NotMade(err) {
		return nil
	}
	if err != nil {
		return []Finding{{State: Skipped, Text: fmt.Sprintf("the tables' definitions can't be read: %v", err)}}
	}
	defer rows.Close()
	var out []Finding
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return []Finding{{State: Skipped, Text: fmt.Sprintf("the tables' definitions can't be read: %v", err)}}
		}
		out = append(out, warn("ALTER TABLE "+name+" REMOVE TTL, or a copy before rows go", "%s has a TTL: bills and audit chains can't be checked beyond it", name))
	}
	return out
}

// clockLimit is how far clocks may be apart. Deadlines and ages are in seconds.
const clockLimit = 5 * time.Second

func clock(ctx context.Context, p *patient) []Finding {
	before := time.Now()
	var there time.Time
	if err := p.tables.QueryRow(ctx, "SELECT now64(3, 'UTC')").Scan(&there); err != nil {
		return []Finding{{State: Skipped, Text: fmt.Sprintf("ClickHouse does not tell the time: %v", err)}}
	}
	return clockFindings(before, there, time.Now())
}

// clockFindings judges a clock that was read between two moments of ours.
func clockFindings(before, there, after time.Time) []Finding {
	off := there.Sub(before.Add(after.Sub(before) / 2))
	if off.Abs() > clockLimit+after.Sub(before) {
		return []Finding{fail("time synchronisation (chrony, systemd-timesyncd) on both machines",
			"ClickHouse's clock is %s off ours: requests expire early or late, and rows fall into wrong hours", off.Round(time.Millisecond))}
	}
	return ok("ClickHouse's clock and ours agree within %s.", max(off.Abs(), after.Sub(before)).Round(time.Millisecond))
}
