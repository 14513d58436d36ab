package alerts

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/webhook"
)

const secretText = "0123456789abcdef0123456789abcdef"

var secret = catalog.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte(secretText)))

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func notice() *schemas.AlertNotice {
	return &schemas.AlertNotice{
		ID: "alert_1", Receiver: "ops", Group: map[string]string{"rule": "answers"}, Time: noon, Until: noon.Add(4 * time.Minute),
		Firing: []schemas.Alert{{
			ID: "a", Rule: "answers", Kind: "burn", Severity: "page", Labels: map[string]string{"model": "<gpt>&`x`", "tenant": ""}, State: schemas.AlertFiring,
			Value: 16.5, Threshold: 14.4, Summary: "1 > 0 & <!channel>", Runbook: "https://example.com/r?a=1&b=2", Since: noon.Add(-time.Minute), FiredAt: noon,
		}},
		Resolved: []schemas.Alert{{ID: "b", Rule: "answers", Severity: "ticket", State: schemas.AlertResolved, FiredAt: noon.Add(-time.Hour), ResolvedAt: noon}},
	}
}

// receiver answers with a status and hands over what it got.
func receiver(t *testing.T, status int) (address string, got chan *http.Request, bodies chan []byte) {
	t.Helper()
	got, bodies = make(chan *http.Request, 8), make(chan []byte, 8)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- r
		bodies <- b
		if status/100 == 3 {
			w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "answer of the receiver")
	}))
	t.Cleanup(s.Close)
	return s.URL, got, bodies
}

func sender(t *testing.T, cfg Config) *Sender {
	t.Helper()
	s, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWebhookIsSignedAsStandardWebhooksSays(t *testing.T) {
	t.Parallel()
	address, got, bodies := receiver(t, http.StatusNoContent)
	s := sender(t, Config{Kind: KindWebhook, URL: catalog.Secret(address), Secret: secret})
	if err := s.Send(t.Context(), notice()); err != nil {
		t.Fatal(err)
	}
	r, body := <-got, <-bodies
	if want := webhook.Sign([]byte(secretText), "alert_1", r.Header.Get("webhook-timestamp"), body); r.Header.Get("webhook-signature") != want || r.Header.Get("webhook-id") != "alert_1" {
		t.Errorf("headers %v, want signature %s", r.Header, want)
	}
	var n Notification
	if err := json.Unmarshal(body, &n); err != nil || n.Type != Type || n.Data.Status != schemas.AlertFiring || len(n.Data.Alerts) != 2 ||
		n.Data.Alerts[0].Labels["model"] != "<gpt>&`x`" || n.Data.Alerts[1].Status != schemas.AlertResolved || n.Data.Group["rule"] != "answers" {
		t.Errorf("error %v\n%s", err, body)
	}
}

func TestSlackCanNotBeToldToCallTheChannel(t *testing.T) {
	t.Parallel()
	address, _, bodies := receiver(t, http.StatusOK)
	s := sender(t, Config{Kind: KindSlack, URL: catalog.Secret(address)})
	if err := s.Send(t.Context(), notice()); err != nil {
		t.Fatal(err)
	}
	var got message
	if err := json.Unmarshal(<-bodies, &got); err != nil {
		t.Fatal(err)
	}
	want := message{
		Text: "Sira: rule=answers: 1 firing, 1 resolved",
		Attachments: []attachment{
			{
				Color: "#c92a2a", Fallback: "answers: 1 &gt; 0 &amp; &lt;!channel&gt;", At: noon.Unix(), Markdown: []string{"text"}, Footer: "sira a",
				Text: "*answers* page\n1 &gt; 0 &amp; &lt;!channel&gt;\n`model=&lt;gpt&gt;&amp;'x' tenant=`\n<https://example.com/r?a=1&amp;b=2|runbook>",
			},
			{Color: "#2b8a3e", Fallback: "answers: ", At: noon.Unix(), Markdown: []string{"text"}, Footer: "sira b", Text: "*answers* resolved after 1h0m0s\n"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	many := notice()
	for range 50 {
		many.Firing = append(many.Firing, many.Firing[0])
	}
	if m := slackMessage(many); len(m.Attachments) != maxAttachments || !strings.Contains(m.Text, "(32 more: sira alerts list)") {
		t.Errorf("52 alerts: %d attachments, %s", len(m.Attachments), m.Text)
	}
}

func TestAlertmanagerGetsWhatItsInterfaceAsksFor(t *testing.T) {
	t.Parallel()
	address, got, bodies := receiver(t, http.StatusOK)
	s := sender(t, Config{Kind: KindAlertmanager, URL: catalog.Secret(address + "/")})
	if err := s.Send(t.Context(), notice()); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.URL.Path != "/api/v2/alerts" || r.Header.Get("webhook-signature") != "" {
		t.Errorf("asked %s with %v", r.URL, r.Header)
	}
	want := `[{"labels":{"alertname":"answers","job":"sira","kind":"burn","model":"\u003cgpt\u003e\u0026` + "`x`" + `","severity":"page"},` +
		`"annotations":{"id":"a","runbook_url":"https://example.com/r?a=1\u0026b=2","summary":"1 \u003e 0 \u0026 \u003c!channel\u003e","threshold":"14.4","value":"16.5"},` +
		`"startsAt":"2026-03-04T12:00:00Z","endsAt":"2026-03-04T12:04:00Z"},` +
		`{"labels":{"alertname":"answers","job":"sira","kind":"","severity":"ticket"},"annotations":{"id":"b","summary":"","threshold":"0","value":"0"},` +
		`"startsAt":"2026-03-04T11:00:00Z","endsAt":"2026-03-04T12:00:00Z"}]`
	if diff := cmp.Diff(want, string(<-bodies)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefusalAndRedirectAreFailures(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusFound, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError} {
		address, got, _ := receiver(t, status)
		err := sender(t, Config{Kind: KindSlack, URL: catalog.Secret(address + "/secret-path")}).Send(t.Context(), notice())
		refused, ok := errors.AsType[*StatusError](err)
		if !ok || refused.Status != status || len(got) != 1 {
			t.Errorf("%d: error %v after %d requests", status, err, len(got))
		}
	}
}

// The address of a Slack webhook lets anybody write there.
func TestAddressIsNotInErrors(t *testing.T) {
	t.Parallel()
	address, _, _ := receiver(t, http.StatusOK)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, url := range []string{gone.URL + "/secret-path", address + "/secret-path\x7f"} {
		s := &Sender{cfg: Config{Kind: KindSlack, URL: catalog.Secret(url)}, client: http.DefaultClient}
		if err := s.Send(t.Context(), notice()); err == nil || strings.Contains(err.Error(), "secret-path") {
			t.Errorf("error %v", err)
		}
	}
}

func TestReceiversThatCanNotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  Config
		says string
	}{
		"kind":              {Config{Kind: "pager"}, `"pager" is unknown; write webhook, slack or alertmanager`},
		"no address":        {Config{Kind: KindSlack}, "write https://host/path"},
		"in the clear":      {Config{Kind: KindSlack, URL: "http://hooks.example.com/x"}, "write https://host/path"},
		"login":             {Config{Kind: KindAlertmanager, URL: "http://a:b@am:9093"}, "without a login"},
		"another scheme":    {Config{Kind: KindAlertmanager, URL: "file:///etc/passwd"}, "http://host:9093"},
		"token in clear":    {Config{Kind: KindAlertmanager, URL: "http://am:9093", Token: "t"}, "over https only"},
		"no signature":      {Config{Kind: KindWebhook, URL: "https://example.com"}, "openssl rand"},
		"secret not needed": {Config{Kind: KindSlack, URL: "https://example.com", Secret: secret}, "only webhooks are signed"},
		"token not needed":  {Config{Kind: KindSlack, URL: "https://example.com", Token: "t"}, "only Alertmanager"},
		"timeout":           {Config{Kind: KindSlack, URL: "https://example.com", Timeout: time.Hour}, "leave it out"},
	} {
		err := c.cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ok := Config{Kind: KindAlertmanager, URL: "http://alertmanager:9093"}
	if err := ok.Validate(); err != nil {
		t.Errorf("within a cluster: %v", err)
	}
}
