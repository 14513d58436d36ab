package clickhouse

import (
	"errors"
	"testing"
	"time"
)

func TestMigrationsApplyOnceAndMayRunAgain(t *testing.T) {
	h := newHouse(t)
	all, err := Migrations()
	if err != nil {
		t.Fatal(err)
	}
	first, err := Migrate(t.Context(), h.dsn)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != len(all) {
		t.Errorf("an empty database took %d of %d migrations", len(first), len(all))
	}
	again, err := Migrate(t.Context(), h.dsn)
	if err != nil || len(again) != 0 {
		t.Errorf("the second run applied %d migrations, error %v", len(again), err)
	}
	// A process that was killed before it noted its steps leaves tables behind.
	if err := h.direct.Exec(t.Context(), "TRUNCATE TABLE schema_migrations"); err != nil {
		t.Fatal(err)
	}
	if again, err = Migrate(t.Context(), h.dsn); err != nil || len(again) != len(all) {
		t.Errorf("over existing tables: applied %d of %d, error %v", len(again), len(all), err)
	}
}

func TestMigrationChangedAfterItWasAppliedIsRefused(t *testing.T) {
	h := migrated(t)
	err := h.direct.Exec(t.Context(), "INSERT INTO schema_migrations VALUES (1, 'x', 'other', ?)", time.Now().UTC().Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Migrate(t.Context(), h.dsn); !errors.Is(err, ErrChangedMigration) {
		t.Errorf("got %v, want ErrChangedMigration", err)
	}
}

func TestAuditTableTakesLinkedRowsOnly(t *testing.T) {
	h := migrated(t)
	insert := func(seq uint64, prev, hash [32]byte, payload string) error {
		return h.direct.Exec(t.Context(), `INSERT INTO audit (chain, seq, event_time, payload, prev_hash, hash) VALUES (258, ?, now64(6), ?, unhex(?), unhex(?))`,
			seq, payload, hexOf(prev), hexOf(hash))
	}
	var zero [32]byte
	first := chainHash(zero, 258, 0, []byte("one"))
	if err := insert(0, zero, first, "one"); err != nil {
		t.Fatalf("a true row was refused: %v", err)
	}
	second := chainHash(first, 258, 0x0102030405060708, []byte("two"))
	if err := insert(0x0102030405060708, first, second, "two"); err != nil {
		t.Fatalf("a true row was refused: %v", err)
	}
	for name, err := range map[string]error{
		"payload": insert(1, first, chainHash(first, 258, 1, []byte("x")), "y"),
		"seq":     insert(2, first, chainHash(first, 258, 1, []byte("x")), "x"),
		"prev":    insert(1, second, chainHash(first, 258, 1, []byte("x")), "x"),
	} {
		if err == nil {
			t.Errorf("a row with a forged %s was taken", name)
		}
	}
}

func TestInvalidDatabaseNameIsRefused(t *testing.T) {
	if _, err := Migrate(t.Context(), "http://default:@127.0.0.1:1/a%3Bb"); err == nil {
		t.Error("a name with a semicolon was taken")
	}
}
