package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Ages says how old rows become, by table.
type Ages struct {
	// Delete is after how long rows go; 0 keeps them for ever and takes back a limit that there was. Tables that are not named
	// stay as they are.
	Delete map[string]time.Duration
	// Policy is the storage policy of the tables that may be named in Delete, "" for the one that they have. The server has to
	// know it, and it has to have the volumes of the one before.
	Policy string
	// Move is after how long rows of these tables go to Volume, of the storage policy; 0: never.
	Move   time.Duration
	Volume string
}

// aging are the tables whose rows may go. What money and audits rest on stays for ever.
var aging = map[string]string{ // and their time
	"requests": "event_time", "requests_list": "event_time", "attempts": "event_time", "metrics": "event_time", "health": "event_time",
	"dead_letters": "event_time", "attempts_1m": "minute",
}

// leastAge is the least that rows are kept, so that a recorder that comes back finds what it has written.
const leastAge = 24 * time.Hour

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate reports what can't work.
func (a *Ages) Validate() error {
	tables := strings.Join(slices.Sorted(maps.Keys(aging)), ", ")
	for _, table := range slices.Sorted(maps.Keys(a.Delete)) {
		age := a.Delete[table]
		switch {
		case aging[table] == "":
			return fmt.Errorf("retention: rows of %q don't age; write one of %s", table, tables)
		case age != 0 && age < leastAge:
			return fmt.Errorf("retention.%s: %s is shorter than a day; write 24h or more, or 0 for ever", table, age)
		case a.Move > 0 && age != 0 && age <= a.Move:
			return fmt.Errorf("retention.%s: rows would go after %s, before they are moved after %s", table, age, a.Move)
		}
	}
	switch {
	case a.Move != 0 && a.Move < leastAge:
		return fmt.Errorf("move_after: %s is shorter than a day; write 24h or more", a.Move)
	case (a.Move == 0) != (a.Volume == ""):
		return errors.New("move_after and move_to go together: write both, such as 720h and cold, or none")
	case a.Policy != "" && !plainName.MatchString(a.Policy):
		return fmt.Errorf("storage_policy: %q is no name of a policy", a.Policy)
	case a.Volume != "" && !plainName.MatchString(a.Volume):
		return fmt.Errorf("move_to: %q is no name of a volume", a.Volume)
	}
	return nil
}

// ttl is the rule of a table, "" if it has none.
func (a *Ages) ttl(table string) string {
	at := func(age time.Duration) string {
		return fmt.Sprintf("toDateTime(%s) + toIntervalSecond(%d)", aging[table], int64(age.Seconds()))
	}
	var rules []string
	if a.Move > 0 {
		rules = append(rules, at(a.Move)+" TO VOLUME '"+a.Volume+"'")
	}
	if age := a.Delete[table]; age > 0 {
		rules = append(rules, at(age))
	}
	return strings.Join(rules, ", ")
}

// Age has ClickHouse delete and move old rows, and returns the tables that it changed. Rows go part by part, once the youngest
// of a part is old enough: partitions are months, so up to a month later. It needs the right to ALTER the tables that it changes.
func Age(ctx context.Context, conn driver.Conn, a Ages) (changed []string, err error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	for _, table := range slices.Sorted(maps.Keys(aging)) {
		_, named := a.Delete[table]
		if !named && a.Move == 0 && a.Policy == "" {
			continue
		}
		var has, policy string
		const sql = "SELECT engine_full, storage_policy FROM system.tables WHERE database = currentDatabase() AND name = ?"
		if err := conn.QueryRow(ctx, sql, table).Scan(&has, &policy); err != nil {
			return changed, fmt.Errorf("reading definition of %s: %w", table, err)
		}
		_, had, _ := strings.Cut(has, " TTL ")
		had, _, _ = strings.Cut(had, " SETTINGS ")
		var alter []string
		if a.Policy != "" && a.Policy != policy {
			alter = append(alter, "MODIFY SETTING storage_policy = '"+a.Policy+"'")
		}
		switch want := a.ttl(table); {
		case want == had, want == "" && !named:
		case want == "":
			alter = append(alter, "REMOVE TTL")
		default:
			alter = append(alter, "MODIFY SETTING ttl_only_drop_parts = 1", "MODIFY TTL "+want)
		}
		for _, change := range alter {
			if err := conn.Exec(ctx, "ALTER TABLE "+table+" "+change); err != nil {
				return changed, fmt.Errorf("changing how old rows of %s become: %w", table, err)
			}
		}
		if len(alter) > 0 {
			changed = append(changed, table)
		}
	}
	return changed, nil
}
