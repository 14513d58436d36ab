package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/twmb/franz-go/plugin/kprom"
	"github.com/twmb/franz-go/plugin/kzap"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/catalog"
)

const (
	// dialTimeout is shorter than franz-go's 10 s: a broker that takes longer to accept is better replaced by the next seed.
	dialTimeout = 5 * time.Second
	// metricsNamespace is the prefix of every client metric, as in sira_kafka_connects_total.
	metricsNamespace = "sira_kafka"
	defaultClientID  = "sira"
)

// The SASL mechanisms of SASLConfig, as written in the configuration.
const (
	SASLPlain       = "plain"
	SASLScramSHA256 = "scram-sha-256"
	SASLScramSHA512 = "scram-sha-512"
	SASLOAuthBearer = "oauthbearer"
)

// Config says how to reach a Kafka cluster. Every Kafka client of the process is made from one, so that encryption, logins,
// logs and metrics are set up in one place.
type Config struct {
	// Brokers are the host:port addresses a client starts from; it finds the others by itself.
	Brokers []string `json:"brokers"`
	// ClientID names the client in broker logs, quotas and metrics. Empty means "sira".
	ClientID string `json:"client_id,omitempty"`
	// TLS encrypts connections. Nil means plain text.
	TLS *TLSConfig `json:"tls,omitempty"`
	// SASL logs in. Nil means no login.
	SASL *SASLConfig `json:"sasl,omitempty"`
	// Dial opens connections in place of TCP, for simulated networks. TLS does not apply to them.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// TLSConfig says how to verify brokers and how to prove who we are. The zero value uses the system's roots and no certificate.
type TLSConfig struct {
	// CA is a PEM file of the authorities that sign broker certificates. Empty means the system's roots.
	CA string `json:"ca,omitempty"`
	// Cert and Key are PEM files for mutual TLS. They are read again for every connection: rotated files need no restart.
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// ServerName is the name to expect in broker certificates. Empty means the host that is dialed.
	ServerName string `json:"server_name,omitempty"`
	// InsecureSkipVerify accepts any certificate. For tests.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// SASLConfig is a login.
type SASLConfig struct {
	// Mechanism is plain, scram-sha-256, scram-sha-512 or oauthbearer.
	Mechanism string `json:"mechanism"`
	// Username and Password are for plain and scram.
	Username string         `json:"username,omitempty"`
	Password catalog.Secret `json:"password,omitempty"`
	// Token is a bearer token for oauthbearer that never expires while the process runs.
	Token catalog.Secret `json:"token,omitempty"`
	// TokenFile is a file holding the bearer token. It is read again for every login, so that another process can renew it.
	TokenFile string `json:"token_file,omitempty"`
	// Extensions are sent along with the bearer token (RFC 7628), for example logicalCluster for Confluent Cloud.
	Extensions map[string]string `json:"extensions,omitempty"`
}

// Validate returns all faults of the configuration at once, each saying what to write instead. It opens no file and no
// connection.
func (c Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("brokers: empty; list at least one host:port, for example localhost:9092"))
	}
	for i, b := range c.Brokers {
		if err := validateBroker(b); err != nil {
			errs = append(errs, fmt.Errorf("brokers[%d]: %w", i, err))
		}
	}
	if c.TLS != nil && (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key belong together; set both PEM files, or neither"))
	}
	if c.SASL != nil {
		errs = append(errs, c.SASL.validate())
	}
	return errors.Join(errs...)
}

func validateBroker(addr string) error {
	if strings.Contains(addr, "://") {
		return fmt.Errorf("%q is a URL; write host:port", addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return fmt.Errorf("%q is no address; write host:port, for example localhost:9092 or [::1]:9092", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no usable port; write a number from 1 to 65535", addr)
	}
	return nil
}

func (s SASLConfig) validate() error {
	var errs []error
	switch s.Mechanism {
	case SASLPlain, SASLScramSHA256, SASLScramSHA512:
		if s.Username == "" || s.Password == "" {
			errs = append(errs, fmt.Errorf("sasl: %s needs username and password", s.Mechanism))
		}
		if s.Token != "" || s.TokenFile != "" {
			errs = append(errs, fmt.Errorf("sasl: token is only for %s; remove it or change the mechanism", SASLOAuthBearer))
		}
	case SASLOAuthBearer:
		if (s.Token == "") == (s.TokenFile == "") {
			errs = append(errs, fmt.Errorf("sasl: %s needs exactly one of token and token_file", s.Mechanism))
		}
		if s.Username != "" || s.Password != "" {
			errs = append(errs, fmt.Errorf("sasl: %s takes no username and password; remove them", s.Mechanism))
		}
	default:
		errs = append(errs, fmt.Errorf("sasl.mechanism: %q is unknown; write %s, %s, %s or %s",
			s.Mechanism, SASLPlain, SASLScramSHA256, SASLScramSHA512, SASLOAuthBearer))
	}
	return errors.Join(errs...)
}

// Options turns the configuration into franz-go options. It reads the TLS files, so that a missing one is known before the
// first connection. A nil log discards, a nil reg measures nothing.
//
// The client logs warnings and errors only. Its metrics carry a client label: the ClientID, or for further clients of the
// same id and registry id-2, id-3 and so on, so that any number of clients shares a registry. Use the options for one client
// only; closing it takes its metrics out of the registry.
func (c Config) Options(log *zap.Logger, reg prometheus.Registerer) ([]kgo.Opt, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = zap.NewNop()
	}
	id := c.ClientID
	if id == "" {
		id = defaultClientID
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.DialTimeout(dialTimeout),
		// A broker remembers what a client fetches under a session's number. One that
		// counts them from 1 after each start, as the embedded one does, may take the
		// session of one client for that of another, and partitions are then not read
		// any more.
		kgo.DisableFetchSessions(),
		kgo.WithLogger(kzap.New(log.With(zap.String("kafka_client", id)), kzap.Level(kgo.LogLevelWarn))),
	}
	if c.Dial != nil {
		opts = append(opts, kgo.Dialer(c.Dial))
	} else if c.TLS != nil {
		t, err := c.TLS.build()
		if err != nil {
			return nil, fmt.Errorf("setting up tls: %w", err)
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if c.SASL != nil {
		if c.TLS == nil && !strings.HasPrefix(c.SASL.Mechanism, "scram") {
			log.Warn("kafka login crosses the network in clear text; set kafka.tls", zap.String("mechanism", c.SASL.Mechanism))
		}
		opts = append(opts, kgo.SASL(c.SASL.build()))
	}
	if reg != nil {
		opts = append(opts, kgo.WithHooks(&clientMetrics{reg: reg, id: id}))
	}
	return opts, nil
}

// NewClient makes a client from the options of c and then extra. The client connects on first use; close it with Close.
func (c Config) NewClient(log *zap.Logger, reg prometheus.Registerer, extra ...kgo.Opt) (*kgo.Client, error) {
	opts, err := c.Options(log, reg)
	if err != nil {
		return nil, fmt.Errorf("configuring kafka client: %w", err)
	}
	cl, err := kgo.NewClient(append(opts, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("making kafka client: %w", err)
	}
	return cl, nil
}

func (t TLSConfig) build() (*tls.Config, error) {
	out := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify,
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("reading ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert == "" {
		return out, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("reading cert and key: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return out, nil
}

func (s SASLConfig) build() sasl.Mechanism {
	switch s.Mechanism {
	case SASLPlain:
		return plain.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsMechanism()
	case SASLScramSHA256:
		return scram.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsSha256Mechanism()
	case SASLScramSHA512:
		return scram.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsSha512Mechanism()
	}
	return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
		token := s.Token.Reveal()
		if s.TokenFile != "" {
			b, err := os.ReadFile(s.TokenFile)
			if err != nil {
				return oauth.Auth{}, fmt.Errorf("reading token_file: %w", err)
			}
			token = strings.TrimSpace(string(b))
		}
		return oauth.Auth{Token: token, Extensions: s.Extensions}, nil
	})
}

// clientMetrics is kprom with a client label of its own. kprom alone panics when two clients register the same metrics, and
// its client_id label does not help two clients of one id.
type clientMetrics struct {
	*kprom.Metrics // set by OnNewClient, before any other hook runs

	reg    prometheus.Registerer
	id     string
	marker prometheus.Gauge
}

// OnNewClient claims a label that is free in the registry by registering a marker metric under it, then starts kprom.
func (m *clientMetrics) OnNewClient(cl *kgo.Client) {
	label := m.id
	for n := 2; ; n++ {
		m.marker = prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metricsNamespace, Name: "client_info", Help: "One per open Kafka client.",
			ConstLabels: prometheus.Labels{"client": label},
		})
		var taken prometheus.AlreadyRegisteredError
		if err := m.reg.Register(m.marker); !errors.As(err, &taken) {
			break
		}
		label = m.id + "-" + strconv.Itoa(n)
	}
	m.marker.Set(1)
	m.Metrics = kprom.NewMetrics(metricsNamespace,
		kprom.Registerer(prometheus.WrapRegistererWith(prometheus.Labels{"client": label}, m.reg)))
	m.Metrics.OnNewClient(cl)
}

// OnClientClosed takes the client's metrics out of the registry and frees its label.
func (m *clientMetrics) OnClientClosed(cl *kgo.Client) {
	m.Metrics.OnClientClosed(cl)
	m.reg.Unregister(m.marker)
}
