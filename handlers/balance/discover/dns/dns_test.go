package dns_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/discover"
	"github.com/sira-ai/sira/handlers/balance/discover/dns"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// zone is a name server. Each answer lasts a look-up; the last one stays.
type zone struct {
	asked   []time.Time
	answers []answer
}

type answer struct {
	addrs []netip.Addr
	srv   []*net.SRV
	err   error
	hangs bool
}

func (z *zone) next(ctx context.Context) (answer, error) {
	z.asked = append(z.asked, time.Now())
	a := z.answers[0]
	if len(z.answers) > 1 {
		z.answers = z.answers[1:]
	}
	if a.hangs {
		<-ctx.Done()
		return a, ctx.Err()
	}
	return a, a.err
}

func (z *zone) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	a, err := z.next(ctx)
	return a.addrs, err
}

func (z *zone) LookupSRV(ctx context.Context, _, _, _ string) (string, []*net.SRV, error) {
	a, err := z.next(ctx)
	return "", a.srv, err
}

// watch looks the name up for d and returns what was passed on.
func watch(t *testing.T, c dns.Config, z *zone, d time.Duration) (got [][]balance.EndpointConfig) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d) // synctest's clock
	defer cancel()
	s := dns.With(c, catalog.Env{Log: zap.NewNop()}, z, z)
	if err := s.Watch(ctx, func(e []balance.EndpointConfig) { got = append(got, e) }); err != nil {
		t.Error(err)
	}
	return got
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, a := range texts {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestAddressesBehindANameAreFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := dns.Defaults()
		c.Name, c.Port, c.Common = "inference.internal", 8443, discover.Common{Region: "eu", Key: "k", Weight: 3}
		z := &zone{answers: []answer{
			{addrs: addrs("10.0.0.2", "::ffff:10.0.0.1")},
			{addrs: addrs("10.0.0.1", "10.0.0.2")},
			{err: errors.New("server failure")},
			{hangs: true},
			{}, // no records
			{addrs: addrs("10.0.0.2", "2001:db8::1")},
		}}
		got := watch(t, c, z, 4*time.Minute)
		at := func(a string) balance.EndpointConfig {
			return balance.EndpointConfig{ID: a, Address: a, Region: "eu", Key: "k", Weight: 3}
		}
		want := [][]balance.EndpointConfig{{at("10.0.0.1:8443"), at("10.0.0.2:8443")}, {at("10.0.0.2:8443"), at("[2001:db8::1]:8443")}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for i, at := range z.asked[1:] {
			if d := at.Sub(z.asked[i]); d < 27*time.Second || d > 39*time.Second {
				t.Errorf("two look-ups are %s apart", d)
			}
		}
	})
}

func TestServicesHavePrioritiesAndWeights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := dns.Defaults()
		c.Name, c.Records = "_http._tcp.inference.internal", dns.SRV
		got := watch(t, c, &zone{answers: []answer{{
			srv: []*net.SRV{{Target: "a.internal.", Port: 80, Priority: 1, Weight: 60}, {Target: "b.internal.", Port: 81, Priority: 2}},
			err: errors.New("some records were left out"),
		}}}, time.Second)
		want := [][]balance.EndpointConfig{{
			{ID: "a.internal:80", Address: "a.internal:80", Priority: 1, Weight: 60}, {ID: "b.internal:81", Address: "b.internal:81", Priority: 2, Weight: 1},
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMistakesSayWhatToWrite(t *testing.T) {
	t.Parallel()
	kinds := catalog.New("discovery", dns.Entry)
	for settings, want := range map[string]string{
		`{}`: "name", `{"name":"a","records":"mx"}`: "records", `{"name":"a","port":0}`: "port", `{"name":"a","interval":"1ms"}`: "interval",
	} {
		if err := kinds.Check("dns", catalog.Settings(settings)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not name %s", settings, err, want)
		}
	}
}
