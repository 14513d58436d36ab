package simulate

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// jobStep is what a call does about a vendor's long job.
type jobStep int

const (
	jobNone   jobStep = iota
	jobCreate         // begins one, named by the simulator
	jobPoll           // asks how the one in the path stands
	jobCancel         // ends it
	jobFollow         // streams what it says
)

// method is how an endpoint is called.
func (e endpoint) method() string {
	if e.list || e.job == jobPoll || e.job == jobFollow {
		return http.MethodGet
	}
	return http.MethodPost
}

// jobState is how far a job is.
type jobState int

const (
	jobQueued jobState = iota
	jobRunning
	jobSucceeded
	jobFailed
	jobCancelled
)

// jobView is a job at one moment.
type jobView struct {
	id                 string
	state              jobState
	created, completed time.Time // completed is zero until it is
	ran                time.Duration
	why                string // it failed
}

// job is work that began. Its answer is settled when it begins.
type job struct {
	answer    answer
	fault     drawn
	started   time.Time
	runs      time.Duration
	cancelled time.Time
}

// maxJobs bounds how many jobs are remembered: the oldest are forgotten, as vendors do after an hour.
const maxJobs = 1 << 14

// jobSet is the jobs of a simulator.
type jobSet struct {
	mu    sync.Mutex
	all   map[string]*job
	order []string
}

func newJobSet() *jobSet { return &jobSet{all: make(map[string]*job)} }

func (s *jobSet) add(id string, j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[id] == nil {
		s.order = append(s.order, id)
	}
	s.all[id] = j
	for len(s.order) > maxJobs {
		delete(s.all, s.order[0])
		s.order = s.order[1:]
	}
}

// get returns a copy of a job, after ending it if that is asked for.
func (s *jobSet) get(id string, cancel bool, now time.Time) (job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.all[id]
	if j == nil {
		return job{}, false
	}
	if cancel && j.cancelled.IsZero() && !j.view(id, now).state.done() {
		j.cancelled = now
	}
	return *j, true
}

func (s jobState) done() bool { return s >= jobSucceeded }

// view is the job at a moment. Faults of whole answers that a job cannot have end it or keep it from ending.
func (j *job) view(id string, now time.Time) *jobView {
	v := &jobView{id: id, state: jobRunning, created: j.started, ran: now.Sub(j.started)}
	end := j.started.Add(j.runs)
	switch {
	case !j.cancelled.IsZero():
		v.state, v.completed, v.ran = jobCancelled, j.cancelled, j.cancelled.Sub(j.started)
	case j.fault.fault == faultStall: // never ends
	case now.Before(end) && v.ran < j.runs/4:
		v.state = jobQueued
	case now.Before(end):
	default:
		v.state, v.completed, v.ran = jobSucceeded, end, j.runs
		switch j.fault.fault {
		case faultStreamError:
			v.state, v.why = jobFailed, "Prediction failed: the model crashed."
		case faultFilter:
			v.state, v.why = jobFailed, "NSFW content detected. Try running it again, or try a different prompt."
		}
	}
	return v
}

// step finds or begins the job of a call.
func (c *call) step(t *tally) *problem {
	now := time.Now()
	if c.to.job != jobCreate {
		j, found := t.jobs.get(c.to.name, c.to.job == jobCancel, now)
		if !found {
			return &problem{refusal: refusedJob}
		}
		base, created, took := c.answer.base, c.answer.created, c.answer.took
		c.answer = j.answer
		c.answer.base, c.answer.created, c.answer.took = base, created, took
		c.answer.stream = c.to.job == jobFollow
		c.answer.job = j.view(c.to.name, now)
		if c.fault.fault == faultNone && c.to.job == jobFollow {
			c.fault = j.fault
		}
		return nil
	}
	j := &job{answer: c.answer, fault: c.fault, started: now, runs: time.Duration(c.behaviour.RunTime)}
	j.answer.stream = false
	switch c.fault.fault {
	case faultFilter, faultStall, faultStreamError, faultCut, faultNoEnd: // of the job, not of the answer that it began
		c.fault = drawn{}
	}
	id := string(appendID(nil, jobAlphabet, 24, c.seed, drawID))
	if c.fault.fault == faultNone {
		t.jobs.add(id, j)
	}
	if wanted := patience(c.r.Header); wanted > 0 && j.fault.fault != faultStall {
		wait(c.r.Context(), min(wanted, j.runs))
	}
	c.answer.job = j.view(id, time.Now())
	return nil
}

// jobAlphabet has no letters that are easily confused.
const jobAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// patience is how long a caller wants its first answer to be held back for the job to end: "Prefer: wait=10".
func patience(h http.Header) time.Duration {
	text, ok := strings.CutPrefix(h.Get("Prefer"), "wait")
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimPrefix(text, "="))
	if err != nil || n < 1 || n > 60 {
		n = 60
	}
	return time.Duration(n) * time.Second
}
