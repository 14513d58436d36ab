package fleet

import (
	"math"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/schemas"
)

// Sums returns the record form of what was seen of an endpoint.
func Sums(n Name, region string, s endpoint.Stats) schemas.EndpointSums {
	sum := func(s endpoint.Sum) schemas.LogSum { return schemas.LogSum{N: int64(s.N), Log: s.Log} }
	return schemas.EndpointSums{
		Provider: n.Provider, Endpoint: n.Endpoint, Region: region, Calls: int64(s.Calls),
		Faults: int64(s.Faults), Limited: int64(s.Limited), Overloaded: int64(s.Overloaded), Truncated: int64(s.Truncated),
		FirstToken: sum(s.FirstToken), Gap: sum(s.Gap), Latency: sum(s.Latency), Input: sum(s.Input), Output: sum(s.Output),
	}
}

// mostCalls bounds what a record may claim, so that one that lies drowns nobody.
const mostCalls = 1 << 24

// StatsOf returns what a record tells of an endpoint. What can't be is left out.
func StatsOf(s *schemas.EndpointSums) endpoint.Stats {
	count := func(n int64) uint32 { return uint32(min(max(n, 0), mostCalls)) }
	sum := func(s schemas.LogSum) endpoint.Sum {
		n := count(s.N)
		// Seconds and tokens are far from e^40.
		if bound := 40 * float64(n); !(math.Abs(s.Log) <= bound) {
			return endpoint.Sum{}
		}
		return endpoint.Sum{N: n, Log: s.Log}
	}
	out := endpoint.Stats{
		Faults: count(s.Faults), Limited: count(s.Limited), Overloaded: count(s.Overloaded), Truncated: count(s.Truncated),
		FirstToken: sum(s.FirstToken), Gap: sum(s.Gap), Latency: sum(s.Latency), Input: sum(s.Input), Output: sum(s.Output),
	}
	out.Calls = max(count(s.Calls), out.Bad())
	return out
}
