package avro

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// RegistryConfig says how to reach a schema registry.
type RegistryConfig struct {
	// URLs of the registry, for instance https://registry:8081 or, for
	// Apicurio, https://apicurio/apis/ccompat/v7. The next one is tried if one
	// can't be reached.
	URLs []string `json:"urls"`
	// Username and Password for HTTP basic authentication.
	Username string     `json:"username,omitempty"`
	Password Credential `json:"password,omitempty"`
	// Token for HTTP bearer authentication, instead of Username.
	Token Credential `json:"token,omitempty"`
	// TLS for https addresses with a private authority or client certificates.
	TLS RegistryTLS `json:"tls,omitzero"`
	// Timeout of one request. 5s unless set.
	Timeout time.Duration `json:"timeout,omitempty"`
	// UnknownFor is how long an id that does not exist is not asked for again.
	// 5s unless set.
	UnknownFor time.Duration `json:"unknown_for,omitempty"`
	// CacheDir, if set, is a folder that keeps what the registry answered, so
	// that a process can start and read while the registry is down. Empty the
	// folder when the registry itself was emptied.
	CacheDir string `json:"cache_dir,omitempty"`
}

// RegistryTLS names PEM files. All are optional: without CA the system's
// authorities count, without Cert and Key no client certificate is shown.
type RegistryTLS struct {
	CA         string `json:"ca,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	ServerName string `json:"server_name,omitempty"`
}

// Credential is a password or token. It prints and encodes as [redacted].
type Credential string

// Format writes [redacted] for every verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// String returns [redacted], or nothing for an empty credential.
func (c Credential) String() string {
	if c == "" {
		return ""
	}
	return "[redacted]"
}

// MarshalText makes encoders write [redacted].
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func (c RegistryConfig) withDefaults() RegistryConfig {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.UnknownFor == 0 {
		c.UnknownFor = 5 * time.Second
	}
	return c
}

// Validate reports everything that is wrong at once, and what to write instead.
func (c RegistryConfig) Validate() error {
	var errs []error
	if len(c.URLs) == 0 {
		errs = append(errs, errors.New("urls is empty: write the registry's address, for instance http://localhost:8081"))
	}
	for _, raw := range c.URLs {
		errs = append(errs, checkRegistryURL(raw))
	}
	if c.Username != "" && c.Token != "" {
		errs = append(errs, errors.New("username and token are both set: keep one of them"))
	}
	if c.Username == "" && c.Password != "" {
		errs = append(errs, errors.New("password is set without username: write both, or use token"))
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls.cert and tls.key belong together: write both or neither"))
	}
	if c.Timeout < 0 || c.UnknownFor < 0 {
		errs = append(errs, errors.New("timeout and unknown_for can't be negative: leave them out for 5s"))
	}
	return errors.Join(errs...)
}

// checkRegistryURL does not repeat an address that it can't read or that holds
// a password.
func checkRegistryURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("urls holds something that is no address: write http://host:port or https://host:port")
	case u.User != nil:
		return errors.New("urls holds a user name: write username and password as settings of their own, they stay out of logs there")
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("urls holds %s: leave out what follows the path", raw)
	}
	return nil
}

func (c RegistryConfig) transport() (http.RoundTripper, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("setting up the schema registry client: the default HTTP transport was replaced")
	}
	t := base.Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			return nil, fmt.Errorf("reading tls.ca: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading tls.ca: %s holds no PEM certificate", c.TLS.CA)
		}
	}
	if c.TLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("reading tls.cert and tls.key: %w", err)
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{cert}
	}
	return boundedTransport{t}, nil
}

// boundedTransport cuts replies at maxReply: sr.Client reads them whole.
type boundedTransport struct{ base http.RoundTripper }

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{http.MaxBytesReader(nil, resp.Body, maxReply), resp.Body}
	return resp, nil
}
