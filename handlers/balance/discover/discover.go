// Package discover finds the endpoints of a provider that are not written down in
// the configuration: replicas behind a name, in a file, in a cluster.
//
// What can't be read now is as it was: an outage of DNS or of a cluster's API must
// not empty a pool.
package discover

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Source knows which endpoints there are.
type Source interface {
	// Watch calls update with all endpoints as soon as it knows them, and again
	// whenever they change, until ctx is done; then it returns nil. It never passes
	// an empty list, two endpoints of one id, or the same list twice. update is
	// called by one goroutine at a time and owns the slice. Mistakes of the source
	// are logged, once each, and tried again.
	Watch(ctx context.Context, update func([]balance.EndpointConfig)) error
}

// Entry is a kind of source for the catalog.
type Entry = catalog.Entry[Source]

// Common is what all endpoints of a source have in common, unless the source says
// otherwise.
type Common struct {
	Region   string `json:"region,omitempty"`
	Zone     string `json:"zone,omitempty"`
	Key      string `json:"key,omitempty"`    // name of the credential
	Weight   int    `json:"weight,omitempty"` // 0 means 1
	Priority int    `json:"priority,omitempty"`
}

// Endpoint returns the endpoint at an address.
func (c Common) Endpoint(id, address string) balance.EndpointConfig {
	return balance.EndpointConfig{
		ID: id, Address: address, Region: c.Region, Zone: c.Zone, Key: c.Key, Weight: c.Weight, Priority: c.Priority,
	}
}

// Feed passes on what changed. One goroutine uses it.
type Feed struct {
	Name   string // of the source, for the log
	Update func([]balance.EndpointConfig)
	Log    *zap.Logger

	last    []balance.EndpointConfig
	trouble string
}

// Offer passes endpoints on, in the order of their ids, if they differ from the
// last. Of two with one id the first counts.
func (f *Feed) Offer(endpoints []balance.EndpointConfig) {
	if len(endpoints) == 0 {
		f.complain("it names no endpoint")
		return
	}
	if f.trouble != "" {
		f.Log.Info("discovery works again", zap.String("source", f.Name))
		f.trouble = ""
	}
	next := slices.Clone(endpoints)
	slices.SortStableFunc(next, func(a, b balance.EndpointConfig) int { return cmp.Compare(a.ID, b.ID) })
	next = slices.CompactFunc(next, func(a, b balance.EndpointConfig) bool { return a.ID == b.ID })
	if slices.Equal(next, f.last) {
		return
	}
	f.last = slices.Clone(next)
	f.Update(next)
}

// Fail says that the source can't be read; what was read before stays.
func (f *Feed) Fail(err error) { f.complain(err.Error()) }

// complain logs a trouble when it begins.
func (f *Feed) complain(trouble string) {
	if f.trouble == trouble {
		return
	}
	f.trouble = trouble
	f.Log.Warn("discovery keeps the endpoints it has", zap.String("source", f.Name), zap.String("because", trouble))
}

// Pause waits for about d, a tenth more or less, so that many processes do not ask
// together. It reports false when ctx was done before.
func Pause(ctx context.Context, d time.Duration, draws *balance.Draws) bool {
	timer := time.NewTimer(time.Duration(float64(d) * (0.9 + 0.2*draws.Unit())))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
