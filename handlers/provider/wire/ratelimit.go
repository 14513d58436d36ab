package wire

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RateLimit is what a vendor says about its limits, in the headers of an answer.
type RateLimit struct {
	Requests Window
	Tokens   Window
}

// Window is one limit. The zero Window is unknown.
type Window struct {
	Limit     int64         // in Per; 0: unknown
	Per       time.Duration // 0: a minute
	Remaining int64         // until ResetAt
	ResetAt   time.Time     // the zero time: Remaining is unknown
}

// ReadRateLimit returns what h says, as of now, in any of the forms of
// CANONICAL.md section 7.4. No two vendors share a name for different things, so
// the vendor need not be known. It reports false where h says nothing.
//
// OpenAI and Azure name the time until a limit is whole again, not that until
// there is anything of it: a limit that is used up counts as closed for a
// twentieth of that time, after which a twentieth has come back.
func ReadRateLimit(h http.Header, now time.Time) (RateLimit, bool) {
	if !speaksOfLimits(h) {
		return RateLimit{}, false
	}
	r := RateLimit{Requests: counted(h, "Requests", now), Tokens: counted(h, "Tokens", now)}
	zero := Window{}
	if r.Requests == zero {
		r.Requests = otherRequests(h, now)
	}
	if r.Tokens == zero {
		r.Tokens = dynamic(h, "X-Tokenlimit-Limit", "X-Tokenlimit-Remaining", "X-Tokenlimit-Reset", now)
	}
	return r, r.Requests != zero || r.Tokens != zero
}

// speaksOfLimits reports whether a header is of any family below: they all have a
// limit in their names. To look for each takes ten times as long.
func speaksOfLimits(h http.Header) bool {
	for name := range h {
		if strings.Contains(name, "imit") {
			return true
		}
	}
	return false
}

// counted reads the families of OpenAI, Azure and Anthropic.
func counted(h http.Header, what string, now time.Time) Window {
	if limit := first(h, "X-Ratelimit-Limit-"+what); limit != "" || first(h, "X-Ratelimit-Remaining-"+what) != "" {
		w := Window{Limit: number(limit), Per: seconds(first(h, "X-Ratelimit-Renewalperiod-"+what))}
		if reset, ok := wait(first(h, "X-Ratelimit-Reset-"+what)); ok {
			w.remain(first(h, "X-Ratelimit-Remaining-"+what), now, reset)
			if w.Remaining == 0 && !w.ResetAt.IsZero() {
				w.ResetAt = now.Add(reset / 20)
			}
		}
		return w
	}
	families := []string{what}
	if what == "Tokens" {
		families = []string{"Tokens", "Input-Tokens", "Output-Tokens"}
	}
	for _, family := range families {
		prefix := "Anthropic-Ratelimit-" + family
		w := Window{Limit: number(first(h, prefix+"-Limit"))}
		if at, err := time.Parse(time.RFC3339, first(h, prefix+"-Reset")); err == nil {
			w.remain(first(h, prefix+"-Remaining"), now, at.Sub(now))
		}
		if w != (Window{}) {
			return w
		}
	}
	return Window{}
}

// otherRequests reads the families of Together, Replicate, Cohere and of the
// IETF's draft, which Hugging Face sends.
func otherRequests(h http.Header, now time.Time) Window {
	if w := dynamic(h, "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", now); w != (Window{}) {
		return w
	}
	if remaining := first(h, "Ratelimit-Remaining"); remaining != "" {
		var w Window
		if reset, ok := wait(first(h, "Ratelimit-Reset")); ok {
			w.remain(remaining, now, reset)
		}
		return w
	}
	if trial := first(h, "X-Trial-Endpoint-Call-Limit"); trial != "" {
		return Window{Limit: number(trial)}
	}
	if first(h, "Ratelimit") != "" {
		left, policy := parameters(first(h, "Ratelimit")), parameters(first(h, "Ratelimit-Policy"))
		w := Window{Limit: number(policy["q"]), Per: seconds(policy["w"])}
		if reset, ok := wait(left["t"]); ok {
			w.remain(left["r"], now, reset)
		}
		return w
	}
	return Window{}
}

// dynamic reads Together's limits, which are of a second.
func dynamic(h http.Header, limit, remaining, reset string, now time.Time) Window {
	w := Window{Limit: number(first(h, limit))}
	if w.Limit > 0 {
		w.Per = time.Second
	}
	if d, ok := wait(first(h, reset)); ok {
		w.remain(first(h, remaining), now, d)
	}
	return w
}

// remain takes over how much is left, if that is a number.
func (w *Window) remain(left string, now time.Time, reset time.Duration) {
	n, err := strconv.ParseInt(left, 10, 64)
	if err != nil || n < 0 {
		return
	}
	w.Remaining, w.ResetAt = n, now.Add(min(max(reset, 0), longest))
}

// longest bounds what a header can say: a day is more than any limit lasts.
const longest = 24 * time.Hour

// first returns the value of a header whose name is canonical.
func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return strings.TrimSpace(v[0])
	}
	return ""
}

// number returns a count above 0, or 0.
func number(s string) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// seconds returns a whole number of seconds, or 0.
func seconds(s string) time.Duration {
	return time.Duration(min(number(s), int64(longest/time.Second))) * time.Second
}

// wait reads seconds, as Azure and others write them, or a Go duration, as OpenAI
// does. A negative number, which Azure sends, says nothing.
func wait(s string) (time.Duration, bool) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if !(f >= 0) {
			return 0, false
		}
		return time.Duration(min(f, longest.Seconds()) * float64(time.Second)), true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

// parameters reads the pairs of a structured field, such as "api";r=0;t=55.
func parameters(s string) map[string]string {
	out := make(map[string]string)
	for pair := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ';' || r == ',' }) {
		if k, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && out[k] == "" {
			out[k] = strings.Trim(v, `"`)
		}
	}
	return out
}
