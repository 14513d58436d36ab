package routing

import "sync"

// Prepared is what a Chooser has found out about the lists that it is asked about, each
// once. The zero value is ready; it is safe for concurrent use.
type Prepared[T any] struct{ known sync.Map } // *T by the first candidate's address

// Of returns what prepare says of candidates, which are a list that Choose was given.
func (p *Prepared[T]) Of(candidates []Candidate, prepare func([]Candidate) *T) *T {
	if len(candidates) == 0 {
		return prepare(nil)
	}
	if found, ok := p.known.Load(&candidates[0]); ok {
		return found.(*T)
	}
	found := prepare(candidates)
	p.known.Store(&candidates[0], found)
	return found
}
