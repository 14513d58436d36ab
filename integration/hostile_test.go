package integration

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
)

// Whatever is on a request topic, each record gets one result that says what is
// wrong with it, memory stays bounded, and the requests behind it are answered.
func TestHostileRecordsAreAnsweredAndStopNothing(t *testing.T) {
	g := startGateway(t, []string{hostileModel}, nil)
	s := besiege(t, g)
	rng := rand.New(rand.NewPCG(6, 4))
	random := 300
	if os.Getenv("SIRA_INTEGRATION") != "" {
		random = 20_000
	}
	for _, wave := range []struct {
		name    string
		attacks []attack
		most    float64 // MiB in use above the beginning
	}{
		{"broken JSON", brokenJSON(), 200},
		{"invalid requests", invalidRequests(), 300},
		{"broken Avro", brokenAvro(t, g.codecs), 200},
		{"odd headers", oddHeaders(rng), 300},
		{"bombs", bombs(t, filepath.Join(g.cfg.DataDir, "blobs")), 600},
		{"noise", randomAttacks(t, rng, g.codecs, random), 300},
	} {
		t.Run(wave.name, func(t *testing.T) {
			h := watchHeap()
			began := time.Now()
			for i := range wave.attacks {
				s.strike(t, int32(i%2), &wave.attacks[i])
			}
			for p := range int32(2) { // behind all of them on each partition
				s.strike(t, p, &attack{name: "a healthy request", rec: kgo.Record{Value: wholeRequest(wave.name, "")}, want: []schemas.Code{schemas.OK}})
			}
			s.settled(t, time.Minute)
			s.judge(t)
			grown := h.growth()
			t.Logf("%d records in %s, memory %.0f MiB above the beginning", len(wave.attacks), time.Since(began).Round(time.Millisecond), grown)
			if grown > wave.most {
				t.Errorf("memory grew by %.0f MiB, want at most %.0f", grown, wave.most)
			}
		})
	}
}
