// Package alerts tells people about alerts: as a signed webhook, as a message in
// Slack, or through Alertmanager, which groups and repeats by itself.
//
// A notice says what is wrong and never what was asked or answered.
package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/webhook"
)

// The kinds of receivers.
const (
	KindWebhook      = "webhook"
	KindSlack        = "slack"
	KindAlertmanager = "alertmanager"
)

// Config says how a receiver is reached.
type Config struct {
	Kind string `json:"kind"` // webhook, slack or alertmanager
	// URL gets the notices. It is a secret, since that of Slack lets anybody who knows
	// it write there. Of Alertmanager it is the address of its interface, such as
	// http://alertmanager:9093.
	URL catalog.Secret `json:"url"`
	// Secret signs a webhook: whsec_ and the key in base64, or any text of 24 bytes and more.
	Secret catalog.Secret `json:"secret,omitempty"`
	// Token is sent to Alertmanager as a bearer.
	Token catalog.Secret `json:"token,omitempty"`
	// Timeout bounds one POST. Default 10 s.
	Timeout time.Duration `json:"timeout,omitempty"`
}

const defaultTimeout = 10 * time.Second

// Relays reports whether the receiver groups and repeats by itself.
func (c *Config) Relays() bool { return c.Kind == KindAlertmanager }

// Validate returns all faults, each saying what to write instead.
func (c *Config) Validate() error {
	var errs []error
	switch c.Kind {
	case KindWebhook:
		if _, err := webhook.SigningKey(c.Secret); err != nil {
			errs = append(errs, fmt.Errorf("secret: %w", err))
		}
	case KindSlack, KindAlertmanager:
		if c.Secret != "" {
			errs = append(errs, errors.New("secret: only webhooks are signed; leave it out"))
		}
	default:
		return fmt.Errorf("kind: %q is unknown; write %s, %s or %s", c.Kind, KindWebhook, KindSlack, KindAlertmanager)
	}
	if err := c.checkURL(); err != nil {
		errs = append(errs, fmt.Errorf("url: %w", err))
	}
	if c.Token != "" && c.Kind != KindAlertmanager {
		errs = append(errs, errors.New("token: only Alertmanager takes one; leave it out"))
	}
	if c.Timeout < 0 || c.Timeout > time.Minute {
		errs = append(errs, fmt.Errorf("timeout: %s is not between 0 and 1m; leave it out for %s", c.Timeout, defaultTimeout))
	}
	return errors.Join(errs...)
}

// checkURL lets Alertmanager be reached in the clear, as it mostly is within a
// cluster, as long as nothing secret is sent.
func (c *Config) checkURL() error {
	err := webhook.CheckURL(c.URL.Reveal())
	if err == nil || c.Kind != KindAlertmanager {
		return err
	}
	u, parseErr := url.Parse(c.URL.Reveal())
	if parseErr != nil || u.Host == "" || u.User != nil || u.Scheme != "http" {
		return errors.New("write http://host:9093 or https://host without a login")
	}
	if c.Token != "" {
		return errors.New("a token goes over https only: write https://host, or leave the token out")
	}
	return nil
}

// Sender tells one receiver. It is safe for concurrent use.
type Sender struct {
	cfg    Config
	key    []byte
	client *http.Client
}

// New checks the configuration. It opens nothing. Nil for the transport means
// http.DefaultTransport.
func New(cfg Config, transport http.RoundTripper) (*Sender, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring receiver of alerts: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	s := &Sender{cfg: cfg, client: &http.Client{
		Transport: transport, Timeout: cfg.Timeout,
		// A redirect would carry the signature, and the request, elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if cfg.Kind == KindWebhook {
		var err error
		if s.key, err = webhook.SigningKey(cfg.Secret); err != nil {
			return nil, fmt.Errorf("configuring receiver of alerts: %w", err)
		}
	}
	return s, nil
}

// StatusError is the answer of a receiver that did not take a notice.
type StatusError struct {
	Status int
	Answer string // the begin of its text
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the receiver answered %d: %q", e.Status, e.Answer)
}

// Send tells the receiver once. A notice that it did not take can be sent again; its
// ID stays the same.
func (s *Sender) Send(ctx context.Context, n *schemas.AlertNotice) error {
	body, err := s.body(n)
	if err != nil {
		return fmt.Errorf("writing notice: %w", err)
	}
	address := s.cfg.URL.Reveal()
	if s.cfg.Kind == KindAlertmanager {
		address = strings.TrimSuffix(address, "/") + "/api/v2/alerts"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return errNoRequest // the error quotes the address
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sira")
	if s.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Token.Reveal())
	}
	if s.cfg.Kind == KindWebhook {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		req.Header.Set("webhook-id", n.ID)
		req.Header.Set("webhook-timestamp", at)
		req.Header.Set("webhook-signature", webhook.Sign(s.key, n.ID, at, body))
	}
	return s.post(req)
}

var errNoRequest = errors.New("making request: the address is not usable")

func (s *Sender) post(req *http.Request) error {
	resp, err := s.client.Do(req)
	if err != nil {
		if at, ok := errors.AsType[*url.Error](err); ok {
			err = at.Err // url.Error quotes the address, which is a secret
		}
		return fmt.Errorf("posting notice: %w", err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode/100 != 2 {
		return &StatusError{resp.StatusCode, string(text[:min(len(text), 200)])}
	}
	return nil
}

func (s *Sender) body(n *schemas.AlertNotice) ([]byte, error) {
	switch s.cfg.Kind {
	case KindSlack:
		return json.Marshal(slackMessage(n))
	case KindAlertmanager:
		return json.Marshal(postable(n))
	}
	return json.Marshal(notification(n))
}
