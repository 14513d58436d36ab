package pipeline

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/schemas"
)

func jobOf(tenant, id string, made time.Time) *Job {
	return &Job{Request: &schemas.Request{ID: id, Tenant: tenant}, Created: made, Deadline: made.Add(time.Hour)}
}

func TestOnlyTheRequestThatWasMeantIsCancelled(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		job  *Job
		want bool
	}{
		"the request":                         {jobOf("acme", "r", now.Add(-time.Minute)), true},
		"one of a clock that is ahead":        {jobOf("acme", "r", now.Add(5*time.Second)), true},
		"a later one of the same id":          {jobOf("acme", "r", now.Add(time.Minute)), false},
		"another tenant's":                    {jobOf("other", "r", now), false},
		"one whose id begins in the tenant's": {jobOf("acm", "er", now), false},
		"another one":                         {jobOf("acme", "s", now), false},
	} {
		early, late := NewCancelBook(10, time.Hour), NewCancelBook(10, time.Hour)
		stops := 0
		late.Watch(c.job, func() { stops++ })
		late.Cancel(schemas.Cancel{RequestID: "r", Tenant: "acme"}, now)
		late.Cancel(schemas.Cancel{RequestID: "r", Tenant: "acme"}, now)
		if c.job.Cancelled() != c.want || (stops == 1) != c.want {
			t.Errorf("%s, which is worked on: cancelled %t, stopped %d times", name, c.job.Cancelled(), stops)
		}
		job := jobOf(c.job.Request.Tenant, c.job.Request.ID, c.job.Created)
		early.Cancel(schemas.Cancel{RequestID: "r", Tenant: "acme"}, now)
		early.Watch(job, nil)
		if job.Cancelled() != c.want || early.Cancelled(job.Request.Tenant, job.Request.ID, job.Created) != c.want {
			t.Errorf("%s, taken up later: cancelled %t", name, job.Cancelled())
		}
	}
}

// Two records of one id are two requests: both are cancelled, and each is forgotten by
// itself.
func TestRequestsOfOneIDAreWatchedApart(t *testing.T) {
	t.Parallel()
	b, now := NewCancelBook(10, time.Hour), time.Now()
	jobs := make([]*Job, 3)
	for i := range jobs {
		jobs[i] = jobOf("acme", "r", now)
		b.Watch(jobs[i], nil)
	}
	b.Unwatch(jobs[1])
	b.Cancel(schemas.Cancel{RequestID: "r", Tenant: "acme"}, now)
	if !jobs[0].Cancelled() || jobs[1].Cancelled() || !jobs[2].Cancelled() {
		t.Errorf("cancelled: %t, %t, %t", jobs[0].Cancelled(), jobs[1].Cancelled(), jobs[2].Cancelled())
	}
	b.Unwatch(jobs[0])
	b.Unwatch(jobs[2])
	b.Unwatch(jobs[2])
	if len(b.watched) != 0 {
		t.Errorf("%d are still watched", len(b.watched))
	}
}

func TestCancellationsAreForgottenByAgeAndNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, began := NewCancelBook(100, time.Hour), time.Now()
		b.Cancel(schemas.Cancel{RequestID: "old", Tenant: "acme"}, began.Add(-2*time.Hour))
		for i := range 1000 {
			b.Cancel(schemas.Cancel{RequestID: strconv.Itoa(i), Tenant: "acme"}, began)
		}
		if n := b.Len(); n != 100 || b.Cancelled("acme", "899", began) || !b.Cancelled("acme", "900", began) || b.Cancelled("acme", "old", began) {
			t.Errorf("%d are kept, or not the newest", n)
		}
		time.Sleep(50 * time.Minute)
		b.Cancel(schemas.Cancel{RequestID: "999", Tenant: "acme"}, time.Now())
		time.Sleep(20 * time.Minute)
		b.Cancel(schemas.Cancel{RequestID: "new", Tenant: "acme"}, time.Now())
		if n := b.Len(); n != 2 || !b.Cancelled("acme", "999", began) || b.Cancelled("acme", "998", began) {
			t.Errorf("%d are kept after an hour, want those that were cancelled since", n)
		}
	})
}

// What a request pays for the door that it does not use:
//
//	go test -run - -bench Watch -benchmem ./pipeline
func BenchmarkWatch(b *testing.B) {
	for _, n := range []int{0, 1000} {
		b.Run(strconv.Itoa(n)+"_cancelled", func(b *testing.B) {
			book, now := NewCancelBook(1000, time.Hour), time.Now()
			for i := range n {
				book.Cancel(schemas.Cancel{RequestID: strconv.Itoa(i), Tenant: "acme"}, now)
			}
			job := jobOf("acme", "0192f0c1-7e2a-7cc0-8d52-2f3a1c9be001", now)
			b.ReportAllocs()
			for b.Loop() {
				book.Watch(job, nil)
				book.Unwatch(job)
			}
		})
	}
}
