// Package kubernetes finds the endpoints of a service in a cluster: it lists and
// watches its EndpointSlices by the cluster's API, with a service account that may
// "list" and "watch" endpointslices of the namespace.
//
// https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
package kubernetes

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/discover"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this source as kind "kubernetes".
var Entry discover.Entry = catalog.Define("kubernetes", Defaults(), New)

// account is where a pod finds its service account.
const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

// Config says which service of which cluster.
type Config struct {
	discover.Common
	Service   string           `json:"service"`
	Namespace string           `json:"namespace,omitempty"`  // that of this pod
	Port      string           `json:"port,omitempty"`       // name or number; the first
	Server    string           `json:"server,omitempty"`     // of the API; that of this pod's cluster
	TokenFile string           `json:"token_file,omitempty"` // read for each request, since it rotates
	CAFile    string           `json:"ca_file,omitempty"`    // whom to trust; "" the machine's
	Timeout   balance.Duration `json:"timeout,omitempty"`    // of a list; 10 s
	Retry     balance.Duration `json:"retry,omitempty"`      // first wait after a mistake, doubled up to a minute; 1 s
	Seed      uint64           `json:"seed,omitempty"`       // of the jitter
}

// Defaults returns the configuration of a pod, without a service.
func Defaults() Config {
	return Config{TokenFile: account + "token", CAFile: account + "ca.crt", Timeout: balance.Duration(10 * time.Second), Retry: balance.Duration(time.Second), Seed: 1}
}

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []error
	if c.Service == "" {
		faults = append(faults, errors.New("service is missing: write the service's name"))
	}
	if u, err := url.Parse(c.Server); err != nil || c.Server != "" && (u.Scheme != "https" || u.Host == "") {
		faults = append(faults, errors.New("server: write an address such as https://10.0.0.1:6443"))
	}
	if c.Timeout <= 0 || c.Retry <= 0 {
		faults = append(faults, fmt.Errorf("timeout is %s and retry %s: write durations above 0", c.Timeout, c.Retry))
	}
	return errors.Join(faults...)
}

// maxRetry is the longest wait between tries of a source in trouble.
const maxRetry = time.Minute

// New returns the source.
func New(c Config, env catalog.Env) (discover.Source, error) { return &source{c, env}, nil }

type source struct {
	config Config
	env    catalog.Env
}

// Watch is as [discover.Source] has it.
func (s *source) Watch(ctx context.Context, update func([]balance.EndpointConfig)) error {
	feed := &discover.Feed{Name: "kubernetes " + s.config.Service, Update: update, Log: s.env.Log}
	draws := balance.NewDraws(s.config.Seed)
	wait := time.Duration(s.config.Retry)
	for {
		began := time.Now()
		err := s.follow(ctx, feed)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil || errors.Is(err, errExpired):
			wait = time.Duration(s.config.Retry) // a watch that ended as it should
		default:
			feed.Fail(err)
			if time.Since(began) > maxRetry {
				wait = time.Duration(s.config.Retry)
			}
		}
		if !discover.Pause(ctx, wait, draws) {
			return nil
		}
		wait = min(2*wait, maxRetry)
	}
}

// follow lists the slices and watches them until the watch ends. An error that is
// errExpired means no more than that the list must be read again.
func (s *source) follow(ctx context.Context, feed *discover.Feed) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	defer c.http.CloseIdleConnections()
	known := &service{common: s.config.Common, port: s.config.Port}
	version, err := c.list(ctx, known)
	if err != nil {
		return err
	}
	feed.Offer(known.endpoints())
	for {
		next, err := c.watch(ctx, version, known, func() { feed.Offer(known.endpoints()) })
		if err != nil {
			return err
		}
		if next == version {
			return nil // an end without news: begin anew, after a pause
		}
		version = next
	}
}

// client returns a client of the API, with what the pod's files say now.
func (s *source) client() (*client, error) {
	c := s.config
	namespace := c.Namespace
	if namespace == "" {
		b, err := os.ReadFile(account + "namespace")
		if err != nil {
			return nil, fmt.Errorf("reading the pod's namespace: %w", err)
		}
		namespace = strings.TrimSpace(string(b))
	}
	server := c.Server
	if server == "" {
		server = "https://" + net.JoinHostPort(
			cmp.Or(os.Getenv("KUBERNETES_SERVICE_HOST"), "kubernetes.default.svc"), cmp.Or(os.Getenv("KUBERNETES_SERVICE_PORT"), "443"))
	}
	transport, err := s.transport()
	if err != nil {
		return nil, err
	}
	return &client{
		http:      &http.Client{Transport: transport},
		url:       strings.TrimSuffix(server, "/") + "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(namespace) + "/endpointslices",
		selector:  "kubernetes.io/service-name=" + c.Service,
		tokenFile: c.TokenFile,
		timeout:   time.Duration(c.Timeout),
	}, nil
}

// transport trusts the cluster's own authority and nobody else.
func (s *source) transport() (*http.Transport, error) {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: time.Duration(s.config.Timeout),
		ForceAttemptHTTP2:   true,
	}
	if s.config.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(s.config.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's authority: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", s.config.CAFile)
	}
	return t, nil
}
