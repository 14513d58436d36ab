package kubernetes

import (
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/discover"
)

// list, event and slice are the parts of discovery.k8s.io/v1 that matter here.
type list struct {
	Metadata metadata `json:"metadata"`
	Items    []slice  `json:"items"`
}

type event struct {
	Type   string `json:"type"` // ADDED, MODIFIED, DELETED, BOOKMARK, ERROR
	Object object `json:"object"`
}

// object is a slice or, in an event of type ERROR, a status.
type object struct {
	slice
	Code int `json:"code"`
}

type metadata struct {
	Name            string `json:"name"`
	ResourceVersion string `json:"resourceVersion"`
}

type slice struct {
	Metadata  metadata   `json:"metadata"`
	Endpoints []endpoint `json:"endpoints"`
	Ports     []port     `json:"ports"`
}

type endpoint struct {
	Addresses  []string `json:"addresses"` // one machine; the first is as good as any
	Conditions struct {
		Ready *bool `json:"ready"` // nil means yes; false while it starts or terminates
	} `json:"conditions"`
	TargetRef struct {
		Name string `json:"name"`
	} `json:"targetRef"`
	Zone string `json:"zone"`
}

type port struct {
	Name string `json:"name"`
	Port int    `json:"port"`
}

// service is what is known of a service: its slices.
type service struct {
	common discover.Common
	port   string
	byName map[string]slice
}

func (s *service) reset(items []slice) {
	s.byName = make(map[string]slice, len(items))
	for _, i := range items {
		s.byName[i.Metadata.Name] = i
	}
}

// apply reports whether an event changed anything.
func (s *service) apply(kind string, sl slice) bool {
	switch kind {
	case "ADDED", "MODIFIED":
		if s.byName == nil {
			s.byName = make(map[string]slice)
		}
		s.byName[sl.Metadata.Name] = sl
	case "DELETED":
		delete(s.byName, sl.Metadata.Name)
	default:
		return false
	}
	return true
}

// endpoints returns those that are ready, of all slices. While an endpoint moves
// from one slice to another it may be in both.
func (s *service) endpoints() []balance.EndpointConfig {
	var out []balance.EndpointConfig
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		sl := s.byName[name]
		number, ok := s.number(sl.Ports)
		if !ok {
			continue
		}
		for _, e := range sl.Endpoints {
			if len(e.Addresses) == 0 || e.Addresses[0] == "" || e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			at := net.JoinHostPort(e.Addresses[0], strconv.Itoa(number))
			id := at
			if e.TargetRef.Name != "" {
				id = e.TargetRef.Name // a pod that gets another's address is another endpoint
			}
			ec := s.common.Endpoint(id, at)
			if e.Zone != "" {
				ec.Zone = e.Zone
			}
			out = append(out, ec)
		}
	}
	return out
}

// number returns the configured port of a slice.
func (s *service) number(ports []port) (int, bool) {
	for _, p := range ports {
		if p.Port > 0 && p.Port < 1<<16 && (s.port == "" || s.port == p.Name || s.port == strconv.Itoa(p.Port)) {
			return p.Port, true
		}
	}
	return 0, false
}
