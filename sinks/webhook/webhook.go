// Package webhook tells an HTTP service about finished requests, one small signed
// POST for each, in the form of Standard Webhooks
// (https://github.com/standard-webhooks/standard-webhooks).
//
// A notification says how a request ended and never what was answered: whoever
// may see answers reads the results topic.
package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas/avro"
)

// Config says whom to tell about what.
type Config struct {
	// URL gets the notifications. It must be https, or http on a loopback host.
	URL string `json:"url"`
	// Secret signs them: whsec_ and the key in base64, or any text of 24 bytes and more.
	Secret catalog.Secret `json:"secret"`
	// Topics are the result topics to follow.
	Topics []string `json:"topics"`
	// Timeout bounds one POST. Default 10 s.
	Timeout time.Duration `json:"timeout,omitempty"`
	// MaxInFlight bounds the POSTs under way at once. Default 16.
	MaxInFlight int `json:"max_in_flight,omitempty"`
	// Only lists the outcomes to tell about: ok, or codes of failures. Empty means all.
	Only []string `json:"only,omitempty"`
}

const (
	defaultTimeout     = 10 * time.Second
	defaultMaxInFlight = 16
	minSecretBytes     = 24
	secretPrefix       = "whsec_"
)

// Validate returns all faults, each saying what to write instead.
func (c Config) Validate() error {
	var errs []error
	if err := CheckURL(c.URL); err != nil {
		errs = append(errs, fmt.Errorf("url: %w", err))
	}
	if _, err := SigningKey(c.Secret); err != nil {
		errs = append(errs, fmt.Errorf("secret: %w", err))
	}
	if len(c.Topics) == 0 || slices.Contains(c.Topics, "") {
		errs = append(errs, errors.New("topics: name the result topics to follow, such as [sira.results]"))
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout: %s is below zero; write 0 for the default of %s", c.Timeout, defaultTimeout))
	}
	if c.MaxInFlight < 0 {
		errs = append(errs, fmt.Errorf("max_in_flight: %d is below zero; write 0 for the default of %d", c.MaxInFlight, defaultMaxInFlight))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = defaultMaxInFlight
	}
	return c
}

var (
	errURL    = errors.New("write https://host/path without a login; http is for 127.0.0.1 and localhost")
	errSecret = fmt.Errorf("write %s and at least %d bytes in base64, as `openssl rand -base64 32` prints them", secretPrefix, minSecretBytes)
)

// CheckURL says what to write instead of an address that nothing is to be sent to.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))) {
		return errURL
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// SigningKey returns the bytes to sign with: those after whsec_ in base64, or the
// text itself.
func SigningKey(s catalog.Secret) ([]byte, error) {
	key := []byte(s.Reveal())
	if encoded, ok := strings.CutPrefix(s.Reveal(), secretPrefix); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errSecret // the decoder's error may quote the secret
		}
	}
	if len(key) < minSecretBytes {
		return nil, errSecret
	}
	return key, nil
}

// Deps are what a Webhook works with.
type Deps struct {
	// Subscriber delivers results, each until it is acknowledged; its backoff is
	// the pause between tries. The caller closes it after Run returned.
	Subscriber message.Subscriber
	// Codecs read results that are not JSON.
	Codecs *avro.Codecs
	// Transport sends the POSTs. Nil means http.DefaultTransport.
	Transport http.RoundTripper
	Log       *zap.Logger
	Metrics   prometheus.Registerer
}

// Webhook posts notifications. Each result is told about at least once; a
// notification keeps its webhook-id when it is repeated.
type Webhook struct {
	cfg    Config
	deps   Deps
	key    []byte
	client *http.Client
	sent   *prometheus.CounterVec
}

// New checks the configuration. It opens nothing.
func New(cfg Config, deps Deps) (*Webhook, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring webhook: %w", err)
	}
	cfg = cfg.withDefaults()
	if deps.Log == nil {
		deps.Log = zap.NewNop()
	}
	key, err := SigningKey(cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("configuring webhook: %w", err)
	}
	return &Webhook{
		cfg: cfg, deps: deps, key: key,
		client: &http.Client{
			Transport:     deps.Transport,
			Timeout:       cfg.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sira_webhook_notifications_total", Help: "Notifications by what became of them: delivered, again, given_up, unreadable.",
		}, []string{"outcome"}),
	}, nil
}

// Run works until ctx is done, waits for the POSTs under way, which end with ctx,
// and returns nil. A result that was not told about by then is delivered again to
// the next run.
func (w *Webhook) Run(ctx context.Context) error {
	if w.deps.Metrics != nil {
		if err := w.deps.Metrics.Register(w.sent); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
		defer w.deps.Metrics.Unregister(w.sent)
	}
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	slots := make(chan struct{}, w.cfg.MaxInFlight)
	for _, topic := range w.cfg.Topics {
		messages, err := w.deps.Subscriber.Subscribe(ctx, topic)
		if err != nil {
			return fmt.Errorf("subscribing to %s: %w", topic, err)
		}
		readers.Go(func() { w.follow(ctx, messages, slots) })
	}
	done := make(chan struct{})
	go func() { defer close(done); readers.Wait() }()
	select {
	case <-ctx.Done():
		<-done
		return nil
	case <-done:
		if ctx.Err() != nil {
			return nil
		}
		return errors.New("webhook: the subscriber was closed")
	}
}

// follow handles messages until the channel is closed.
func (w *Webhook) follow(ctx context.Context, messages <-chan *message.Message, slots chan struct{}) {
	var posts sync.WaitGroup
	defer posts.Wait()
	for m := range messages {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			m.Nack()
			continue
		}
		posts.Go(func() {
			defer func() { <-slots }()
			if w.handle(ctx, m) {
				m.Ack()
			} else {
				m.Nack()
			}
		})
	}
}
