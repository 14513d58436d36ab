// Package dns finds endpoints behind a name: its A and AAAA records, or its SRV
// records.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/discover"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this source as kind "dns".
var Entry discover.Entry = catalog.Define("dns", Defaults(), New)

// The record types.
const (
	Host = "host" // A and AAAA
	SRV  = "srv"
)

// Config says what to look up.
type Config struct {
	discover.Common
	Name     string           `json:"name"`               // such as inference.internal, or _http._tcp.inference.internal for srv
	Records  string           `json:"records,omitempty"`  // host or srv; host
	Port     int              `json:"port,omitempty"`     // of host records; 443
	Interval balance.Duration `json:"interval,omitempty"` // between look-ups; 30 s
	Timeout  balance.Duration `json:"timeout,omitempty"`  // of one; 5 s
	Seed     uint64           `json:"seed,omitempty"`     // of the jitter
}

// Defaults returns the configuration of an empty document, without a name.
func Defaults() Config {
	return Config{Records: Host, Port: 443, Interval: balance.Duration(30 * time.Second), Timeout: balance.Duration(5 * time.Second), Seed: 1}
}

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []error
	if c.Name == "" {
		faults = append(faults, errors.New("name is missing: write the name to look up"))
	}
	if c.Records != Host && c.Records != SRV {
		faults = append(faults, fmt.Errorf("records is %q: write host or srv", c.Records))
	}
	if c.Port < 1 || c.Port > 65535 {
		faults = append(faults, fmt.Errorf("port is %d: write 1 to 65535", c.Port))
	}
	if c.Interval < balance.Duration(time.Second) || c.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("interval is %s and timeout %s: write at least 1s and a duration above 0", c.Interval, c.Timeout))
	}
	return errors.Join(faults...)
}

// HostResolver looks up addresses; *net.Resolver is one.
type HostResolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// SRVResolver looks up services; *net.Resolver is one.
type SRVResolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Source looks a name up again and again.
type Source struct {
	config Config
	env    catalog.Env
	hosts  HostResolver
	srv    SRVResolver
}

// New returns the source, with the resolver of the machine.
func New(c Config, env catalog.Env) (discover.Source, error) {
	return With(c, env, net.DefaultResolver, net.DefaultResolver), nil
}

// With is New with resolvers of the caller's.
func With(c Config, env catalog.Env, hosts HostResolver, srv SRVResolver) *Source {
	return &Source{config: c, env: env, hosts: hosts, srv: srv}
}

// Watch is as [discover.Source] has it.
func (s *Source) Watch(ctx context.Context, update func([]balance.EndpointConfig)) error {
	feed := &discover.Feed{Name: "dns " + s.config.Name, Update: update, Log: s.env.Log}
	draws := balance.NewDraws(s.config.Seed)
	for {
		endpoints, err := s.lookUp(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			feed.Fail(err)
		default:
			feed.Offer(endpoints)
		}
		if !discover.Pause(ctx, time.Duration(s.config.Interval), draws) {
			return nil
		}
	}
}

func (s *Source) lookUp(ctx context.Context) ([]balance.EndpointConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.config.Timeout))
	defer cancel()
	if s.config.Records == SRV {
		return s.services(ctx)
	}
	addrs, err := s.hosts.LookupNetIP(ctx, "ip", s.config.Name)
	if err != nil {
		return nil, err
	}
	var endpoints []balance.EndpointConfig
	for _, a := range addrs {
		at := netip.AddrPortFrom(a.Unmap(), uint16(s.config.Port)).String()
		endpoints = append(endpoints, s.config.Endpoint(at, at))
	}
	return endpoints, nil
}

// services maps priority and weight as RFC 2782 means them: a lower priority is
// asked first, and a weight of 0 is the least there is.
func (s *Source) services(ctx context.Context) ([]balance.EndpointConfig, error) {
	// The resolver leaves out records that are broken and says so in err.
	_, records, err := s.srv.LookupSRV(ctx, "", "", s.config.Name)
	if len(records) == 0 && err != nil {
		return nil, err
	}
	var endpoints []balance.EndpointConfig
	for _, r := range records {
		at := net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
		e := s.config.Endpoint(at, at)
		e.Priority, e.Weight = int(r.Priority), max(int(r.Weight), 1)
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}
