package kafkatest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that Linux (32768 and up) and others use for outgoing connections. From within
// that range, a client that redials a broker that is down can be given the broker's port as its own, connect to itself,
// and keep the broker from coming back.
const (
	firstPort = 20000
	lastPort  = 32000
)

// ports are TCP ports of 127.0.0.1 that no other cluster uses, whichever process it belongs to.
//
// A broker binds its ports seconds after they were chosen and frees them whenever it is down, so looking for a free
// TCP port is not enough. Each port is held by its UDP twin, which Kafka has no use for, until release.
type ports struct {
	numbers []int
	held    []net.PacketConn
}

func reservePorts(ctx context.Context, n int) (*ports, error) {
	p := &ports{}
	// Anywhere in the range: clients of an earlier cluster may still redial its ports.
	const count = lastPort - firstPort
	start := rand.IntN(count)
	for i := range count {
		if len(p.numbers) == n {
			return p, nil
		}
		p.tryReserve(ctx, firstPort+(start+i)%count)
	}
	p.release()
	return nil, fmt.Errorf("%d TCP ports between %d and %d are not to be had", n, firstPort, lastPort)
}

func (p *ports) tryReserve(ctx context.Context, port int) {
	var config net.ListenConfig
	twin, err := config.ListenPacket(ctx, "udp4", address(loopback, port))
	if err != nil {
		return
	}
	probe, err := config.Listen(ctx, "tcp4", address(loopback, port))
	if err != nil {
		_ = twin.Close()
		return
	}
	_ = probe.Close()
	p.numbers = append(p.numbers, port)
	p.held = append(p.held, twin)
}

// release gives the ports back. Calling it again does nothing.
func (p *ports) release() {
	for _, twin := range p.held {
		_ = twin.Close()
	}
	p.held = nil
}
