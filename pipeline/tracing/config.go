package tracing

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sira-ai/sira/pipeline/catalog"
)

// Config says which traces are recorded and where they go. Start from Defaults.
type Config struct {
	Enabled bool `json:"enabled,omitempty"`
	// Endpoint is the URL of a collector that takes OTLP over HTTP in protobuf. Without a
	// path it is /v1/traces.
	Endpoint string                    `json:"endpoint,omitempty"` // http://127.0.0.1:4318/v1/traces
	Headers  map[string]catalog.Secret `json:"headers,omitempty"`  // of every export, such as authorization
	TLS      TLS                       `json:"tls,omitzero"`
	// Sample is the share of the traces that begin here and are recorded, 0 to 1. A trace
	// that began elsewhere is recorded here if it is recorded there.
	Sample  float64 `json:"sample,omitempty"`  // 1
	Service string  `json:"service,omitempty"` // service.name; sira
	// Providers hands the trace context on to providers, in the header traceparent of
	// each call.
	Providers bool          `json:"providers,omitempty"`
	Queue     int           `json:"queue,omitempty"`   // spans that wait for the collector; more are dropped; 8192
	Timeout   time.Duration `json:"timeout,omitempty"` // of one export, tries included; 10s
	Drain     time.Duration `json:"drain,omitempty"`   // of a stop, for the spans that wait; 5s
}

// TLS names PEM files for an https endpoint. All are optional: without CA the
// system's authorities count, without Cert and Key no client certificate is shown.
type TLS struct {
	CA         string `json:"ca,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	ServerName string `json:"server_name,omitempty"`
}

// Defaults returns the configuration of an empty document: nothing is recorded.
func Defaults() Config {
	return Config{
		Endpoint: "http://127.0.0.1:4318" + defaultPath, Sample: 1, Service: "sira",
		Queue: 8192, Timeout: 10 * time.Second, Drain: 5 * time.Second,
	}
}

// Bounds of the settings. The drain is below what a process gives each of its
// services to stop.
const (
	defaultPath = "/v1/traces" // https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
	maxQueue    = 1 << 20
	maxDrain    = 50 * time.Second
)

// Validate reports everything that is wrong with c. It does not repeat an address
// that may hold a password.
func (c *Config) Validate() error {
	var faults []error
	u, err := c.url()
	if err != nil {
		faults = append(faults, err)
	}
	if err == nil && u.Scheme == "http" && c.TLS != (TLS{}) {
		faults = append(faults, errors.New("tls is set for an endpoint of http: write https:// in endpoint, or leave tls out"))
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		faults = append(faults, errors.New("tls.cert and tls.key belong together: write both or neither"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		if err := checkHeader(name, c.Headers[name]); err != nil {
			faults = append(faults, err)
		}
	}
	if !(c.Sample >= 0 && c.Sample <= 1) { // so that NaN is refused too
		faults = append(faults, fmt.Errorf("sample is %v: write 0 to 1, such as 0.01", c.Sample))
	}
	if c.Service == "" {
		faults = append(faults, errors.New("service is empty: write the name that traces show, such as sira"))
	}
	if c.Queue < 1 || c.Queue > maxQueue {
		faults = append(faults, fmt.Errorf("queue is %d: write 1 to %d", c.Queue, maxQueue))
	}
	if c.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("timeout is %s: write a duration above 0, such as 10s", c.Timeout))
	}
	if c.Drain <= 0 || c.Drain > maxDrain {
		faults = append(faults, fmt.Errorf("drain is %s: write a duration above 0 and up to %s, such as 5s", c.Drain, maxDrain))
	}
	return errors.Join(faults...)
}

// url returns where exports go.
func (c *Config) url() (*url.URL, error) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, errors.New("endpoint is no URL: write one such as http://127.0.0.1:4318 or https://collector.example.com")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("endpoint is neither http nor https: write the collector's address for OTLP over HTTP, often port 4318")
	case u.User != nil:
		return nil, errors.New("endpoint holds a user: write headers: {authorization: …} instead")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("endpoint has a query: leave out what follows ? and #")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = defaultPath
	}
	return u, nil
}

// clear reports whether headers cross a network in clear text.
func (c *Config) clear() bool {
	u, err := c.url()
	if err != nil || u.Scheme == "https" || len(c.Headers) == 0 || u.Hostname() == "localhost" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback()
}

// headerMarks are the characters beside letters and digits that a header's name may
// have (RFC 9110, section 5.6.2).
const headerMarks = "!#$%&'*+-.^_`|~"

func checkHeader(name string, value catalog.Secret) error {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(headerMarks, r) {
			name = ""
			break
		}
	}
	switch {
	case name == "":
		return errors.New("headers: a name is empty or not one of HTTP: write names such as authorization or x-api-key")
	case value == "":
		return fmt.Errorf("headers.%s is empty: write its value, such as ${OTLP_TOKEN}, or leave the header out", name)
	case strings.ContainsFunc(value.Reveal(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return fmt.Errorf("headers.%s holds a line break or a control character: write it on one line", name)
	}
	switch strings.ToLower(name) {
	case "content-type", "content-encoding", "content-length", "host":
		return fmt.Errorf("headers.%s is set by the export itself: leave it out", name)
	}
	return nil
}

// build reads the files, so that a missing one is known at the start.
func (t TLS) build() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("reading tls.ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading tls.ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("reading tls.cert and tls.key: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}
