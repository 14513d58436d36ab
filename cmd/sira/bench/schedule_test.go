package bench

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRequestsArriveAtTheirRate(t *testing.T) {
	t.Parallel()
	for rate, want := range map[string]struct {
		n, firstHalf int
	}{
		"100":     {1000, 500},
		"50..150": {1000, 375}, // 50 t + 10 t²/2 at t = 5
		"150..50": {1000, 625},
		"0..200":  {1000, 250},
		"200..0":  {1000, 750},
	} {
		r, err := ParseRate(rate)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Schedule(10*time.Second, false, 0)
		if err != nil {
			t.Fatal(err)
		}
		half := 0
		for i, a := range got {
			if a.At < 5*time.Second {
				half++
			}
			if i > 0 && a.At < got[i-1].At {
				t.Fatalf("%s: arrival %d is before the one before it", rate, i)
			}
		}
		if math.Abs(float64(len(got)-want.n)) > 1 || math.Abs(float64(half-want.firstHalf)) > 1 {
			t.Errorf("%s: %d requests, %d in the first half, want %d and %d", rate, len(got), half, want.n, want.firstHalf)
		}
	}
}

func TestPoissonArrivalsAreIndependentAndRepeat(t *testing.T) {
	t.Parallel()
	r := Rate{1000, 1000}
	a, errA := r.Schedule(20*time.Second, true, 7)
	b, errB := r.Schedule(20*time.Second, true, 7)
	if errA != nil || errB != nil || !cmp.Equal(a, b) {
		t.Fatalf("the same seed makes different arrivals: %v, %v", errA, errB)
	}
	// Gaps of a Poisson process spread as widely as they are long.
	var sum, squares float64
	for i := 1; i < len(a); i++ {
		gap := (a[i].At - a[i-1].At).Seconds()
		sum, squares = sum+gap, squares+gap*gap
	}
	n := float64(len(a) - 1)
	mean := sum / n
	spread := math.Sqrt(squares/n - mean*mean)
	if math.Abs(mean-0.001) > 0.00003 || math.Abs(spread/mean-1) > 0.03 {
		t.Errorf("mean gap %g s, spread %g of it; want 0.001 and 1", mean, spread/mean)
	}
}

func TestRatesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "fast", "-1", "0", "0..0", "1..", "NaN", "Inf", "1..2..3"} {
		if r, err := ParseRate(s); err == nil {
			t.Errorf("%q is read as %v", s, r)
		}
	}
	for _, r := range []Rate{{0.001, 0.001}, {1e12, 1e12}} {
		if got, err := r.Schedule(time.Second, false, 0); err == nil {
			t.Errorf("%v makes %d requests", r, len(got))
		}
	}
}

// The same three arrivals in the forms that traces have.
func TestTracesOfSeveralFormsAreRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text  string
		model string
	}{
		"our own": {"at,input_tokens,output_tokens\n0,100,10\n0.25,7,0\n1.5,2000,300\n", ""},
		"Azure": {
			"\ufeffTIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,100,10\n2023-11-16 18:17:04.2299600,7,0\n2023-11-16 18:17:05.4799600,2000,300\n", "",
		},
		"BurstGPT, out of order": {
			"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n6.5,GPT-4,2000,300,2300,API log\n5,GPT-4,100,10,110,Conversation log\n5.25,GPT-4,7,0,7,Conversation log\n", "GPT-4",
		},
	} {
		got, err := ReadTrace(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := []Arrival{
			{0, 100, 10, c.model}, {250 * time.Millisecond, 7, 0, c.model}, {1500 * time.Millisecond, 2000, 300, c.model},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}

func TestBrokenTracesSayWhere(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                               "header",
		"at\n":                           "no requests",
		"when,model\n1,x\n":              "at, timestamp",
		"at\n1\nsoon\n":                  "line 3",
		"at\n-1\n":                       "line 2",
		"at,input_tokens\n1,many\n":      "tokens",
		"at,input_tokens\n1,2\n3\n":      "line 3",
		"at\n\"2026-01-31 15:04:05x\"\n": "no moment",
	} {
		if got, err := ReadTrace(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v and error %v, want one that says %q", text, got, err, says)
		}
	}
}

func TestCompressedTraceKeepsItsShape(t *testing.T) {
	t.Parallel()
	in := []Arrival{{At: 0}, {At: 30 * time.Second}, {At: time.Minute}, {At: time.Hour}}
	got := Compress(in, 60, 10*time.Second)
	want := []Arrival{{At: 0}, {At: 500 * time.Millisecond}, {At: time.Second}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// Of traces in the forms of those that were published, ours is always here; the
// published ones are read too where they are at hand.
func TestTracesInPublishedFormsAreRead(t *testing.T) {
	t.Parallel()
	const folder = "../../../../shared/data/workloads"
	want := map[string]int{"testdata/azure.csv": 40, "testdata/burstgpt.csv": 30}
	published := map[string]int{"AzureLLMInferenceTrace_code.csv": 8_819, "AzureLLMInferenceTrace_conv.csv": 19_366, "BurstGPT_1_first400.csv": 400}
	files, err := filepath.Glob(folder + "/*/*.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if n, ok := published[filepath.Base(path)]; ok {
			want[path] = n
		}
	}
	for path, n := range want {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadTrace(f)
		_ = f.Close()
		if err != nil || len(got) != n || got[0].At != 0 {
			t.Errorf("%s: %d requests, want %d; %v", path, len(got), n, err)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("at,input_tokens,output_tokens,model\n0,1,2,x\n")
	f.Add("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,100,10\n")
	f.Add("Timestamp,Model,Request tokens\n1e9,\"a\nb\",1e3\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ReadTrace(strings.NewReader(text))
		if err != nil {
			return
		}
		if len(got) == 0 || got[0].At != 0 {
			t.Fatalf("a trace of %d arrivals that does not begin at 0", len(got))
		}
		for i, a := range got {
			if a.Input < 0 || a.Output < 0 || i > 0 && a.At < got[i-1].At {
				t.Fatalf("arrival %d is %+v", i, a)
			}
		}
	})
}
