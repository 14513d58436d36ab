package routing

// chain is a strategy of several, each of which gets what the one before
// returned.
type chain []Strategy

// Rank implements Strategy.
func (s chain) Rank(q *Query, c []Candidate) []Candidate {
	for i := range s {
		if len(c) == 0 {
			break
		}
		c = s[i].Rank(q, c)
	}
	return c
}

// Observe implements Observer.
func (s chain) Observe(q *Query) {
	for i := range s {
		if o, ok := s[i].(Observer); ok {
			o.Observe(q)
		}
	}
}
