package alert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sira-ai/sira/schemas"
)

// world is what a keeper sees: rules that find what the test says, a table in
// memory, and receivers that remember.
type world struct {
	mu       sync.Mutex
	found    map[string][]Finding
	failing  error // of looks
	table    map[string]schemas.Alert
	unread   error // of the table
	silences []schemas.AlertSilence
	down     map[string]bool
	told     []string // receiver: state rule labels …
	ids      []string
	lead     bool
}

func newWorld() *world {
	return &world{found: map[string][]Finding{}, table: map[string]schemas.Alert{}, down: map[string]bool{}, lead: true}
}

func (w *world) Look(_ context.Context, rule string, _ time.Time) ([]Finding, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.found[rule]), w.failing
}

func (w *world) Load(context.Context, time.Time) ([]schemas.Alert, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []schemas.Alert
	for _, a := range w.table {
		out = append(out, a)
	}
	return out, w.unread
}

func (w *world) Save(_ context.Context, all []schemas.Alert, _ time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range all {
		w.table[a.ID+a.Since.String()] = a
	}
	return nil
}

func (w *world) Silences(context.Context, time.Time) ([]schemas.AlertSilence, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.silences), nil
}

func (w *world) Send(_ context.Context, n *schemas.AlertNotice) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down[n.Receiver] {
		return errors.New("connection refused")
	}
	var parts []string
	for _, a := range n.Firing {
		parts = append(parts, fmt.Sprintf("%s %s %s", a.Rule, a.Labels["model"], a.Severity))
	}
	for _, a := range n.Resolved {
		parts = append(parts, fmt.Sprintf("%s %s over", a.Rule, a.Labels["model"]))
	}
	w.told = append(w.told, n.Receiver+": "+strings.Join(parts, ", "))
	w.ids = append(w.ids, n.ID)
	return nil
}

// heard returns what was told since the last call.
func (w *world) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.told
	w.told = nil
	return out
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func on(model string) Finding {
	return Finding{Labels: map[string]string{"model": model}, Level: 1, Value: 20, Threshold: 14.4, Summary: "it burns"}
}

// play runs a keeper over w for as long as f lasts.
func (w *world) play(t *testing.T, cfg KeeperConfig, f func(wait func(time.Duration))) {
	t.Helper()
	cfg.Every, cfg.Looker, cfg.Store, cfg.Silencer = 10*time.Second, w, w, w
	cfg.Leads = func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.lead
	}
	cfg.Senders = map[string]Sender{}
	for i := range cfg.Receivers {
		cfg.Receivers[i].Complete(cfg.Every)
		cfg.Senders[cfg.Receivers[i].Name] = w
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	k := NewKeeper(cfg)
	go func() { done <- k.Run(ctx) }()
	f(func(d time.Duration) {
		timer := time.NewTimer(d)
		<-timer.C
		synctest.Wait()
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func expect(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

var answers = Rule{Name: "answers", Kind: KindBurn, Severity: Page}

func TestAlertIsToldOnceThenRepeatedThenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.play(t, KeeperConfig{Rules: []Rule{answers}, Receivers: []Receiver{{Name: "ops"}}}, func(wait func(time.Duration)) {
			w.set(func() { w.found["answers"] = []Finding{on("a")} })
			wait(15 * time.Second)
			expect(t, "before others of the group could come", w.heard())
			w.set(func() { w.found["answers"] = []Finding{on("a"), on("b")} })
			wait(45 * time.Second)
			expect(t, "after 30 s", w.heard(), "ops: answers a page, answers b page")
			wait(3 * time.Hour)
			expect(t, "while it goes on", w.heard())
			wait(time.Hour)
			expect(t, "after 4 h", w.heard(), "ops: answers a page, answers b page")
			w.set(func() { w.found["answers"] = []Finding{on("b")} })
			wait(5 * time.Minute)
			expect(t, "when one is over", w.heard(), "ops: answers b page, answers a over")
			w.set(func() { w.found["answers"] = nil })
			wait(6 * time.Minute)
			expect(t, "when all are over", w.heard(), "ops: answers b over")
			wait(48 * time.Hour)
			expect(t, "later", w.heard())
		})
	})
}

func TestConditionThatDoesNotLastIsNotTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, rule := newWorld(), answers
		rule.For, rule.Keep = 5*time.Minute, 2*time.Minute
		w.play(t, KeeperConfig{Rules: []Rule{rule}, Receivers: []Receiver{{Name: "ops", Wait: time.Second, Interval: time.Second}}}, func(wait func(time.Duration)) {
			w.set(func() { w.found["answers"] = []Finding{on("a")} })
			wait(4 * time.Minute)
			w.set(func() { w.found["answers"] = nil })
			wait(4 * time.Minute)
			expect(t, "of a condition of 4 min", w.heard())
			w.set(func() { w.found["answers"] = []Finding{on("a")} })
			wait(6 * time.Minute)
			expect(t, "of one of 6 min", w.heard(), "ops: answers a page")
			w.set(func() { w.found["answers"] = nil })
			wait(time.Minute)
			w.set(func() { w.found["answers"] = []Finding{on("a")} })
			wait(10 * time.Minute)
			expect(t, "of a gap shorter than keep", w.heard())
		})
		states := map[schemas.AlertState]int{}
		for _, a := range w.table {
			states[a.State]++
		}
		if states[schemas.AlertDropped] != 1 || states[schemas.AlertFiring] != 1 {
			t.Errorf("the table holds %v", states)
		}
	})
}

// An analyst that is killed must neither tell everything again nor forget who has to
// hear that it is over.
func TestNextKeeperGoesOnWhereTheLastOneEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, rule := newWorld(), answers
		rule.For = 2 * time.Minute
		cfg := func() KeeperConfig {
			return KeeperConfig{Rules: []Rule{rule}, Receivers: []Receiver{{Name: "ops", Wait: time.Second}}}
		}
		w.set(func() { w.found["answers"] = []Finding{on("a")} })
		w.play(t, cfg(), func(wait func(time.Duration)) { wait(90 * time.Second) })
		w.play(t, cfg(), func(wait func(time.Duration)) {
			wait(55 * time.Second)
			expect(t, "the time that it held before counts", w.heard(), "ops: answers a page")
		})
		w.play(t, cfg(), func(wait func(time.Duration)) {
			wait(time.Hour)
			expect(t, "after another restart", w.heard())
		})
		w.set(func() { w.found["answers"] = nil })
		w.play(t, cfg(), func(wait func(time.Duration)) {
			wait(time.Minute)
			expect(t, "over while nobody looked", w.heard(), "ops: answers a over")
		})
	})
}

func TestNoticeKeepsItsNameUntilItArrived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(func() { w.found["answers"] = []Finding{on("a")}; w.lead = true })
		receivers := []Receiver{{Name: "ops", Wait: time.Second}}
		now := time.Now()
		receivers[0].Complete(10 * time.Second)
		b := NewBoard(nil)
		b.Judge(&answers, []Finding{on("a")}, now)
		first := b.Due(receivers, []Rule{answers}, nil, now.Add(time.Minute))
		again := NewBoard(b.Alerts()).Due(receivers, []Rule{answers}, nil, now.Add(2*time.Minute))
		if len(first) != 1 || len(again) != 1 || first[0].ID != again[0].ID {
			t.Fatalf("the next process tells it as another one: %v, %v", first, again)
		}
		b.Told(&first[0], now.Add(time.Minute))
		repeat := b.Due(receivers, []Rule{answers}, nil, now.Add(5*time.Hour))
		if len(repeat) != 1 || repeat[0].ID == first[0].ID {
			t.Errorf("a repetition has the name of the first: %v", repeat)
		}
	})
}

func TestWorseIsToldAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		mild, worse := on("a"), on("a")
		mild.Severity, worse.Level = Ticket, 2
		w.play(t, KeeperConfig{Rules: []Rule{answers}, Receivers: []Receiver{{Name: "ops", Wait: time.Second}}}, func(wait func(time.Duration)) {
			w.set(func() { w.found["answers"] = []Finding{mild} })
			wait(time.Minute)
			w.set(func() { w.found["answers"] = []Finding{worse} })
			wait(15 * time.Second)
			w.set(func() { w.found["answers"] = []Finding{mild} })
			wait(time.Hour)
			expect(t, "first, then worse, and not when it is less bad", w.heard(), "ops: answers a ticket", "ops: answers a page")
		})
	})
}

func TestSilencedAlertIsToldWhenTheSilenceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.silences = []schemas.AlertSilence{{ID: "s", Matchers: []string{"rule=answers", "model=~a|c"}, From: time.Now(), Until: time.Now().Add(time.Hour)}}
		w.play(t, KeeperConfig{Rules: []Rule{answers}, Receivers: []Receiver{{Name: "ops", Wait: time.Second, GroupBy: []string{"model"}}}}, func(wait func(time.Duration)) {
			w.set(func() { w.found["answers"] = []Finding{on("a"), on("b")} })
			wait(50 * time.Minute)
			expect(t, "during the silence", w.heard(), "ops: answers b page")
			wait(11 * time.Minute)
			expect(t, "after it", w.heard(), "ops: answers a page")
		})
	})
}

func TestReceiverThatIsDownHearsItLaterAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.down["chat"] = true
		core, logged := observer.New(zap.WarnLevel)
		rules := []Rule{answers, {Name: "money", Kind: KindBudget, Severity: Ticket, To: []string{"chat"}}}
		w.play(t, KeeperConfig{Rules: rules, Receivers: []Receiver{{Name: "ops", Wait: time.Second}, {Name: "chat", Wait: time.Second}}, Log: zap.New(core)}, func(wait func(time.Duration)) {
			w.set(func() { w.found["answers"], w.found["money"] = []Finding{on("a")}, []Finding{on("m")} })
			wait(20 * time.Minute)
			expect(t, "while chat is down", w.heard(), "ops: answers a page")
			w.set(func() { w.down["chat"] = false })
			wait(6 * time.Minute)
			got := w.heard()
			slices.Sort(got)
			expect(t, "when it is back", got, "chat: answers a page", "chat: money m ticket")
		})
		if n := logged.Len(); n != 1 {
			t.Errorf("%d warnings for one outage", n)
		}
	})
}

func TestRelayHearsEverythingEveryMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.play(t, KeeperConfig{Rules: []Rule{answers}, Receivers: []Receiver{{Name: "am", Relay: true}}}, func(wait func(time.Duration)) {
			w.set(func() { w.found["answers"] = []Finding{on("a")} })
			wait(11 * time.Second)
			expect(t, "at once", w.heard(), "am: answers a page")
			wait(2 * time.Minute)
			expect(t, "each minute", w.heard(), "am: answers a page", "am: answers a page")
			w.set(func() { w.found["answers"] = nil })
			wait(11 * time.Second)
			expect(t, "over at once", w.heard(), "am: answers a over")
		})
	})
}

// Not to see trouble is not its end.
func TestRuleThatCanNotBeLookedAtKeepsItsAlertsAndIsToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.play(t, KeeperConfig{Rules: []Rule{answers}, Receivers: []Receiver{{Name: "ops", Wait: time.Second}}}, func(wait func(time.Duration)) {
			w.set(func() { w.found["answers"] = []Finding{on("a")} })
			wait(time.Minute)
			w.set(func() { w.failing = errors.New("clickhouse is away") })
			wait(10 * time.Minute)
			expect(t, "while nothing is seen", w.heard(), "ops: answers a page", "ops: alerts_blind  page")
			w.set(func() { w.failing = nil })
			wait(10 * time.Minute)
			expect(t, "when it is seen again", w.heard(), "ops: alerts_blind  over")
		})
	})
}

func TestOnlyTheOneWhoseTurnItIsTells(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.lead, w.found["answers"] = false, []Finding{on("a")}
		w.play(t, KeeperConfig{Rules: []Rule{answers}, Receivers: []Receiver{{Name: "ops", Wait: time.Second}}}, func(wait func(time.Duration)) {
			wait(time.Hour)
			expect(t, "of the other process", w.heard())
			w.set(func() { w.lead, w.unread = true, errors.New("not yet") })
			wait(time.Minute)
			expect(t, "before the past is read", w.heard())
			w.set(func() { w.unread = nil })
			wait(time.Minute)
			expect(t, "of its turn", w.heard(), "ops: answers a page")
		})
	})
}

func TestAlertsOfARuleThatIsGoneAreOver(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	b := NewBoard(nil)
	b.Judge(&answers, []Finding{on("a")}, now)
	b = NewBoard(b.Alerts())
	b.Retire([]string{"other"}, now.Add(time.Minute))
	if all := b.Alerts(); len(all) != 1 || all[0].State != schemas.AlertResolved {
		t.Errorf("%+v", all)
	}
}
