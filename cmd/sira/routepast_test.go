package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/schemas"
)

func TestAResultTellsTheCallsWhereTheAuditEventIsNotAtHand(t *testing.T) {
	t.Parallel()
	p := pastResult(&schemas.Result{
		RequestID: "r1", Tenant: "acme", Route: "chat", ConfigVersion: "v7", CompletedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Attempts: []schemas.Attempt{
			{Number: 1, Reason: "first", Target: schemas.Target{Provider: "a", Model: "m"}, Outcome: schemas.Overloaded, HTTPStatus: 529, LatencyMS: 12},
			{Number: 2, Reason: "fallback", Target: schemas.Target{Provider: "b", Model: "n", Region: "eu"}, Outcome: schemas.OK, LatencyMS: 900, FirstTokenMS: 80},
		},
	})
	var b strings.Builder
	if err := p.print(&b); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{
		"request  r1 of acme: ok at 2026-11-23T12:00:00Z", "route    chat, configuration v7", "overloaded (HTTP 529), 12 ms",
		"call 2   fallback  b/n@eu", "first output after 80 ms", "which is not recorded",
	} {
		if !strings.Contains(b.String(), says) {
			t.Errorf("there is no %q in\n%s", says, b.String())
		}
	}
}

func TestAnAuditEventWithoutADecisionIsAnError(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{"", "{}", `{"decision":"x"}`} {
		if p, err := pastOf([]byte(payload)); err == nil {
			t.Errorf("%q: %+v", payload, p)
		}
	}
}
