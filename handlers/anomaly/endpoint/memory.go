package endpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// errMemory says that something is no memory of a State.
var errMemory = errors.New("not the memory of an endpoint")

// memory is a State as it is handed to its next owner: for each signal the sums
// and counts of now, of the last minutes and of what is usual.
type memory struct {
	Pace   [3][6]float64 `json:"pace"`
	Shares [4][6]float64 `json:"shares"`
	Tokens [2][6]float64 `json:"tokens"`
	Bad    [2]float64    `json:"bad"`
}

// MarshalJSON writes all that s remembers, but not what Expect set.
func (s *State) MarshalJSON() ([]byte, error) {
	m := memory{Bad: [2]float64{s.bad.sum, s.bad.n}}
	s.each(&m, func(g *signal, v *[6]float64) {
		*v = [6]float64{g.now.sum, g.now.n, g.long.sum, g.long.n, g.usual.sum, g.usual.n}
	})
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON wrote. An error leaves s as it was.
func (s *State) UnmarshalJSON(text []byte) error {
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	var fresh State
	fresh.bad = window{m.Bad[0], m.Bad[1]}
	sound := fresh.bad.sound()
	fresh.each(&m, func(g *signal, v *[6]float64) {
		g.now, g.long, g.usual = window{v[0], v[1]}, window{v[2], v[3]}, window{v[4], v[5]}
		sound = sound && g.now.sound() && g.long.sound() && g.usual.sound()
	})
	if !sound {
		return errMemory
	}
	*s = fresh
	return nil
}

// each calls do for every signal with its place in m.
func (s *State) each(m *memory, do func(*signal, *[6]float64)) {
	for i := range s.pace {
		do(&s.pace[i], &m.Pace[i])
	}
	for i := range s.shares {
		do(&s.shares[i], &m.Shares[i])
	}
	for i := range s.tokens {
		do(&s.tokens[i], &m.Tokens[i])
	}
}

// sound reports whether w can be the sum of something.
func (w window) sound() bool {
	const most = 1e15
	return w.n >= 0 && w.n < most && math.Abs(w.sum) < most
}
