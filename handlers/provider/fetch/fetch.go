// Package fetch gets media from the addresses that requesters give, for vendors
// that take bytes only. Addresses are chosen by strangers, so it connects to public
// ones alone unless the configuration allows more.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Config says what may be fetched.
type Config struct {
	Off      bool          `json:"off,omitempty"`       // nothing: media by URL go as they are
	MaxBytes int64         `json:"max_bytes,omitempty"` // of one address; 20 MiB
	Timeout  time.Duration `json:"timeout,omitempty"`   // of one address, redirects included; 20 s
	// Allow lists hosts and networks, such as media.internal or 10.1.0.0/16, that may be
	// asked although they are not public, on any port.
	Allow []string `json:"allow,omitempty"`
}

// Defaults returns the configuration of an empty document.
func Defaults() Config { return Config{MaxBytes: 20 << 20, Timeout: 20 * time.Second} }

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []error
	if c.MaxBytes <= 0 {
		faults = append(faults, fmt.Errorf("max_bytes is %d: write 1 or more", c.MaxBytes))
	}
	if c.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("timeout is %s: write a duration above 0, such as 20s", c.Timeout))
	}
	for _, a := range c.Allow {
		if _, err := netip.ParsePrefix(a); err == nil {
			continue
		}
		if a == "" || strings.ContainsAny(a, "/: @") {
			faults = append(faults, fmt.Errorf("allow: %q: write a host such as media.internal or a network such as 10.1.0.0/16", a))
		}
	}
	return errors.Join(faults...)
}

// maxRedirects bounds how often an answer may lead elsewhere.
const maxRedirects = 3

// Fetcher gets media. It is safe for concurrent use.
type Fetcher struct {
	config   Config
	hosts    []string
	networks []netip.Prefix
	client   *http.Client
}

// New returns a fetcher. c has passed Validate.
func New(c Config) *Fetcher {
	f := &Fetcher{config: c}
	for _, a := range c.Allow {
		if p, err := netip.ParsePrefix(a); err == nil {
			f.networks = append(f.networks, p.Masked())
		} else {
			f.hosts = append(f.hosts, strings.ToLower(a))
		}
	}
	f.client = &http.Client{
		Transport: &http.Transport{
			// No proxy: it would connect in our place, to addresses that nobody checks.
			DialContext: f.dial, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: c.Timeout,
			DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errRedirects
			}
			if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return errDowngrade
			}
			return f.check(req.URL)
		},
	}
	return f
}

// Why an address is not asked.
var (
	errAddress   = errors.New("the address is not public")
	errPort      = errors.New("the port is not one of the web's")
	errScheme    = errors.New("the address is no http or https URL")
	errUserinfo  = errors.New("the address holds a credential")
	errRedirects = errors.New("it leads elsewhere too often")
	errDowngrade = errors.New("it leads from https to http")
)

// check says what is wrong with a URL before anything is resolved. It holds for
// redirects, too.
func (f *Fetcher) check(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return errScheme
	case u.User != nil:
		return errUserinfo
	}
	return nil
}

// dial connects. The address is judged when it is known for good, after the name was
// resolved, so that a name can't mean one thing to the check and another to the
// connection.
func (f *Fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(f.hosts, strings.ToLower(host)) {
		d.Control = func(_, address string, _ syscall.RawConn) error { return f.judge(address) }
	}
	return d.DialContext(ctx, network, address)
}

func (f *Fetcher) judge(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return errAddress
	}
	ip := to.Addr().Unmap().WithZone("")
	for _, p := range f.networks {
		if p.Contains(ip) {
			return nil
		}
	}
	switch {
	case !public(ip):
		return errAddress
	case to.Port() != 80 && to.Port() != 443:
		return errPort
	}
	return nil
}

// notPublic are networks that no stranger may have us connect to, beside those that
// net/netip knows: IANA's registries of special-purpose addresses. Those that carry
// an IPv4 address inside are among them.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"),
}

func public(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	return !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// Get returns what is at an address: at most limit bytes, or what the configuration
// says if that is less. Its error is a *schemas.Failure: invalid_request for an
// address that may not be asked, payload_too_large, and else unsupported, since a
// vendor that takes URLs may have more luck.
func (f *Fetcher) Get(ctx context.Context, address string, limit int64) (mime string, data []byte, err error) {
	limit = min(limit, f.config.MaxBytes)
	u, err := url.Parse(address)
	if err == nil {
		err = f.check(u)
	}
	if err != nil {
		return "", nil, failure(schemas.InvalidRequest, "is not fetched: "+why(err), err)
	}
	ctx, cancel := context.WithTimeout(ctx, f.config.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", nil, failure(schemas.InvalidRequest, "is not fetched: "+why(err), err)
	}
	res, err := f.client.Do(req)
	if err != nil {
		return "", nil, refusal(err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode != http.StatusOK:
		return "", nil, failure(schemas.Unsupported, fmt.Sprintf("could not be fetched: its host answers %d", res.StatusCode), nil)
	case res.ContentLength > limit:
		return "", nil, large(limit)
	}
	data, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return "", nil, failure(schemas.Unsupported, "could not be fetched: the connection broke", err)
	case int64(len(data)) > limit:
		return "", nil, large(limit)
	case len(data) == 0:
		return "", nil, failure(schemas.InvalidRequest, "leads to nothing", nil)
	}
	mime, _, _ = strings.Cut(res.Header.Get("Content-Type"), ";")
	if mime = strings.ToLower(strings.TrimSpace(mime)); mime == "" || mime == "application/octet-stream" || mime == "binary/octet-stream" {
		mime, _, _ = strings.Cut(http.DetectContentType(data), ";")
	}
	return mime, data, nil
}

func large(limit int64) *schemas.Failure {
	return failure(schemas.PayloadTooLarge, fmt.Sprintf("leads to more than %d bytes", limit), nil)
}

func refusal(err error) *schemas.Failure {
	for _, own := range []error{errAddress, errPort, errScheme, errUserinfo, errRedirects, errDowngrade} {
		if errors.Is(err, own) {
			return failure(schemas.InvalidRequest, "is not fetched: "+own.Error(), own)
		}
	}
	return failure(schemas.Unsupported, "could not be fetched: its host does not answer", err)
}

// why says what is wrong with an address without quoting it: it may hold a secret.
func why(err error) string {
	if errors.Is(err, errScheme) || errors.Is(err, errUserinfo) {
		return err.Error()
	}
	return "it is no URL"
}

func failure(code schemas.Code, message string, cause error) *schemas.Failure {
	f := schemas.Fail(code, message, cause)
	f.Phase = schemas.PhaseLocal
	return f
}
