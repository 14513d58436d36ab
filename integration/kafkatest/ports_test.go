package kafkatest

import (
	"net"
	"slices"
	"testing"
)

// Two clusters that look for ports at the same time used to be able to find the same ones, because neither had bound
// them yet.
func TestReservedPortsAreReservedOnce(t *testing.T) {
	var all []int
	for range 50 {
		p, err := reservePorts(t.Context(), 9)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.release)
		all = append(all, p.numbers...)
	}
	slices.Sort(all)
	if distinct := len(slices.Compact(slices.Clone(all))); distinct != len(all) {
		t.Errorf("%d reservations hold %d distinct ports", len(all), distinct)
	}
	if all[0] < firstPort || all[len(all)-1] >= lastPort {
		t.Errorf("ports reach from %d to %d, want %d to %d", all[0], all[len(all)-1], firstPort, lastPort-1)
	}
}

func TestReservedPortCanBeBoundByABroker(t *testing.T) {
	p, err := reservePorts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", address(loopback, p.numbers[0]))
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()

	p.release()
	p.release()
	twin, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", address(loopback, p.numbers[0]))
	if err != nil {
		t.Fatalf("the port is still held after release: %v", err)
	}
	_ = twin.Close()
}
