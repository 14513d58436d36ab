package jsontext

// Resume returns a cursor in the midst of an object: behind its first at bytes,
// which end with a value or with the opening brace. Chunks of a stream begin
// alike, and what is known need not be read again.
func Resume(b []byte, at int) Cursor {
	return Cursor{b: b, i: at, depth: 1, first: at > 0 && b[at-1] == '{'}
}

// Offset returns how many bytes have been read.
func (c *Cursor) Offset() int { return c.i }

// Rest returns what has not been read.
func (c *Cursor) Rest() []byte { return c.b[c.i:] }
