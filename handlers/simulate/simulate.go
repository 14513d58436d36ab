// Package simulate stands in for AI providers: their wire formats, with latency, pace and faults that can be set. It
// answers in made-up words, costs nothing, and needs no key that means anything.
//
//	curl http://127.0.0.1:8089/openai/v1/chat/completions -H 'Authorization: Bearer any' \
//	  -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
//	curl http://127.0.0.1:8089/anthropic/v1/messages -H 'x-api-key: any' -H 'anthropic-version: 2023-06-01' \
//	  -d '{"model":"claude-haiku-4-5","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}'
//
// There are also gemini, cohere, ai21, together, azure_openai, huggingface, replicate and stability, and OpenAI's operations
// other than chats: docs/simulator.md has the paths.
//
// # Jobs
//
// At Replicate all work is a job. It runs for [Behaviour.RunTime]; its id then answers polls and a stream, and can be
// cancelled. stream-error and filter let a job fail, and stall keeps it from ending.
//
// # Instances
//
// One simulator plays many endpoints. Any name of up to 64 letters, digits, dots, hyphens and underscores in front of a
// dialect is an instance, and one without a name is the instance "default": /eu/openai/v1/chat/completions. An instance
// behaves as its [Behaviour] says; one that has none behaves as "default" does. Instances are switched at run time:
//
//	curl -X PUT http://127.0.0.1:8089/_sim/instances/eu -d '{"latency":{"kind":"uniform","min":"5ms","max":"300ms"},
//	  "tokens_per_second":50,"faults":{"429":{"share":0.01,"retry_after":"2s"},"cut":{"share":0.005,"after":3}}}'
//	curl -X PUT http://127.0.0.1:8089/_sim/instances/eu -d '{"down":true}'
//	curl -X DELETE http://127.0.0.1:8089/_sim/instances/eu
//	curl http://127.0.0.1:8089/_sim/instances
//	curl http://127.0.0.1:8089/_sim/stats
//	curl -X POST http://127.0.0.1:8089/_sim/reset
//
// A PUT replaces the whole behaviour; calls under way keep the one that they began with. Paths under /_sim/ answer callers
// on this machine only, unless [Config.RemoteAdmin] says otherwise.
//
// # Faults
//
// Names are the same for all dialects; statuses are the vendor's own where they differ from those below. A fault comes to a share of an instance's calls ([Behaviour.Faults]), or to one
// call by the header X-Sim-Fault, or by the name of the model, which the answer then gives without it:
//
//	X-Sim-Fault: cut;after=3
//	X-Sim-Latency: 250ms
//	"model": "gpt-4o-mini+fault=429;retry-after=3;times=1"
//
// The header wins over the model's name, and both over shares. Options: after=N, how many tokens come first (2);
// retry-after=N, a Retry-After header in seconds (none); latency=D, for slow (10s); times=N, only for the first N calls
// of a key, so that a retry succeeds (always).
//
//	429           rate limit
//	quota         429 for want of money: retrying does not help
//	500           internal error
//	503           unavailable
//	529           overloaded
//	auth          401, the key is refused
//	context       400, the prompt is too long
//	policy        400, the prompt is refused by the content policy
//	filter        200, the answer stops after some tokens for its content
//	reset         the connection is reset before any byte of an answer
//	silence       no byte ever comes, until the caller leaves or Behaviour.MaxSilence has passed
//	slow          the first token takes long: a stream's headers and opening come in time, a whole answer comes late
//	cut           the connection closes after some tokens, or in the middle of a whole answer
//	stall         as cut, but the connection stays open, as silence does
//	malformed     one chunk, or a whole answer, is not JSON
//	no-end        a stream ends properly but without its terminator; a whole answer ends in its middle
//	stream-error  a stream carries the vendor's error event after some tokens; a whole answer is 500
//
// # Determinism
//
// What a call gets is a function of [Config.Seed], the Idempotency-Key header (without one, the body) and how many calls
// with that key came before: a second run with the same calls gets the same latencies, lengths, faults and identifiers,
// and a retry can fare better. The words depend on the seed and the body alone. Times of the clock are real.
//
// Prompt tokens are a quarter of the prompt's bytes in JSON; completion tokens are the number of words. When a request has
// tools and demands one ("required", a name, Anthropic's "any"), the answer is a call of it whose only argument is "input":
// it does not follow the tool's schema, nor does the text follow a response_format.
package simulate

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Config sets up a simulator.
type Config struct {
	// Listen is the address of the server. Default 127.0.0.1:8089.
	Listen string `json:"listen,omitempty"`
	// Seed decides all draws.
	Seed uint64 `json:"seed,omitempty"`
	// Instances by name. "default" is the one that paths without an instance mean, and the behaviour of all others
	// that are not named here.
	Instances map[string]Behaviour `json:"instances,omitempty"`
	// TrackKeys is how many different idempotency keys (or bodies of calls without one) are told apart, at about 40
	// bytes each. Default 1048576.
	TrackKeys int `json:"track_keys,omitempty"`
	// RemoteAdmin opens /_sim/ to callers from other machines.
	RemoteAdmin bool `json:"remote_admin,omitempty"`
	// Drain is how long calls under way may take to end when the server stops. Default 5s.
	Drain Duration `json:"drain,omitempty"`
}

const (
	defaultInstance  = "default"
	defaultListen    = "127.0.0.1:8089"
	defaultTrackKeys = 1 << 20
)

// Validate says what is wrong and what to write instead, all at once.
func (c Config) Validate() error {
	var errs []error
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("listen: %w: write host:port, such as %s", err, defaultListen))
		}
	}
	if c.TrackKeys < 0 {
		errs = append(errs, fmt.Errorf("track_keys: %d: write a number above zero, or nothing for %d", c.TrackKeys, defaultTrackKeys))
	}
	if c.Drain < 0 {
		errs = append(errs, errors.New("drain: write a duration above zero, or nothing for 5s"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Instances)) {
		if !instanceName(name) {
			errs = append(errs, fmt.Errorf("instances: %q: %s", name, nameRule))
		}
		if err := c.Instances[name].Validate(); err != nil {
			errs = append(errs, fmt.Errorf("instances.%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

const nameRule = "a name is 1 to 64 letters, digits, dots, hyphens and underscores, begins with a letter or digit, and is not a dialect's"

// Simulator answers as providers would. It is an http.Handler, safe for concurrent use; it starts no goroutines.
type Simulator struct {
	log         *zap.Logger
	seed        uint64
	trackKeys   int
	remoteAdmin bool
	configured  map[string]Behaviour

	mu        sync.Mutex // held to change instances
	instances atomic.Pointer[map[string]*Behaviour]
	tally     atomic.Pointer[tally]
}

// tally is everything that a reset throws away. A call keeps the one that it began with.
type tally struct {
	board *board
	keys  *keySet
	jobs  *jobSet

	batches *batchSet
}

// New returns a simulator that is set up as cfg says, which has passed Validate. It uses neither Listen nor Drain.
func New(cfg Config, log *zap.Logger) *Simulator {
	s := &Simulator{
		log: log, seed: mix(cfg.Seed), trackKeys: cfg.TrackKeys, remoteAdmin: cfg.RemoteAdmin,
		configured: maps.Clone(cfg.Instances),
	}
	if s.trackKeys == 0 {
		s.trackKeys = defaultTrackKeys
	}
	s.restore()
	s.Reset()
	return s
}

// Set makes the instance behave as b from the next call on.
func (s *Simulator) Set(instance string, b Behaviour) error {
	if !instanceName(instance) {
		return fmt.Errorf("instance %q: %s", instance, nameRule)
	}
	if err := b.Validate(); err != nil {
		return fmt.Errorf("instance %s: %w", instance, err)
	}
	s.change(func(m map[string]*Behaviour) { m[instance] = &b })
	return nil
}

// Unset makes the instance behave as the default one.
func (s *Simulator) Unset(instance string) {
	s.change(func(m map[string]*Behaviour) { delete(m, instance) })
}

// Instances returns the behaviours that are set.
func (s *Simulator) Instances() map[string]Behaviour {
	out := make(map[string]Behaviour)
	for name, b := range *s.instances.Load() {
		out[name] = *b
	}
	return out
}

// Reset forgets all counts, and which keys came. Calls under way are counted nowhere.
func (s *Simulator) Reset() {
	s.tally.Store(&tally{board: newBoard(), keys: newKeySet(s.trackKeys), jobs: newJobSet(), batches: newBatchSet()})
}

// Stats returns the counts so far.
func (s *Simulator) Stats() Stats {
	t := s.tally.Load()
	total, rows := t.board.snapshot()
	return Stats{Total: total, Calls: rows, Keys: t.keys.snapshot()}
}

// restore sets the instances as they were configured.
func (s *Simulator) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]*Behaviour, len(s.configured))
	for name, b := range s.configured {
		m[name] = &b
	}
	s.instances.Store(&m)
}

func (s *Simulator) change(edit func(map[string]*Behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := maps.Clone(*s.instances.Load())
	edit(m)
	s.instances.Store(&m)
}

// behaviour returns what the instance does now. The caller does not change it.
func (s *Simulator) behaviour(instance string) *Behaviour {
	m := *s.instances.Load()
	if b := m[instance]; b != nil {
		return b
	}
	if b := m[defaultInstance]; b != nil {
		return b
	}
	return &unset
}

// unset is the behaviour of instances when there is none to follow.
var unset Behaviour

// ServeHTTP answers one call.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if strings.HasPrefix(path, "/_sim/") {
		s.admin(w, r)
		return
	}
	instance, d, rest := split(path)
	if d == nil {
		http.Error(w, "no such path: write /{dialect}/… or /{instance}/{dialect}/…, with one of the dialects "+segments(), http.StatusNotFound)
		return
	}
	c := call{sim: s, instance: instance, dialect: d, behaviour: s.behaviour(instance), w: w, r: r, to: d.route(rest)}
	if c.batches(rest) {
		return
	}
	switch {
	case c.to == endpoint{}:
		c.refuse(problem{refusal: refusedPath})
	case r.Method != c.to.method():
		c.refuse(problem{refusal: refusedMethod})
	case c.to.format != nil:
		c.run()
	default:
		c.models(c.to.name)
	}
}

// split parts a path into instance, dialect and what the dialect makes of the rest, which begins with a slash.
func split(path string) (instance string, d *dialect, rest string) {
	first, tail, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if d = dialectNamed(first); d != nil {
		return defaultInstance, d, path[len(first)+1:]
	}
	if !instanceName(first) {
		return "", nil, ""
	}
	segment, _, _ := strings.Cut(tail, "/")
	return first, dialectNamed(segment), tail[len(segment):]
}

func segments() string {
	names := make([]string, 0, len(dialects))
	for _, d := range dialects {
		names = append(names, d.segment)
	}
	return strings.Join(names, ", ")
}
