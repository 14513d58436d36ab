package kafkatest

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

// Paths within the container. The data is not on a volume, so that it lives as long as the container and is removed
// with it.
const (
	containerProperties = "/tmp/server.properties"
	containerData       = "/tmp/kafka-data"
)

// dockerNode is a broker that runs in a container.
type dockerNode struct {
	container testcontainers.Container
	docker    *testcontainers.DockerClient
}

// dockerAnswers returns nil if there is a Docker engine to use. testcontainers panics where it finds none at all.
func dockerAnswers(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("looking for a Docker engine: %v", r)
		}
	}()
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return fmt.Errorf("connecting to Docker: %w", err)
	}
	defer docker.Close()
	if _, err := docker.Ping(ctx, client.PingOptions{}); err != nil {
		return fmt.Errorf("asking Docker: %w", err)
	}
	return nil
}

// newContainers creates a container for every member of l, in a network of their own.
func newContainers(ctx context.Context, t testing.TB, l layout) ([]node, error) {
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to Docker: %w", err)
	}
	t.Cleanup(func() { _ = docker.Close() })
	shared, err := tcnetwork.New(ctx)
	testcontainers.CleanupNetwork(t, shared)
	if err != nil {
		return nil, fmt.Errorf("creating a network: %w", err)
	}
	var nodes []node
	for _, m := range l.members {
		created, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
			ContainerRequest: containerRequest(l, m, shared.Name),
		})
		testcontainers.CleanupContainer(t, created)
		if err != nil {
			return nil, fmt.Errorf("creating the container of broker %d: %w", m.id, err)
		}
		nodes = append(nodes, &dockerNode{container: created, docker: docker})
	}
	return nodes, nil
}

// containerRequest publishes the client port under its own number, which is known before the container runs. A port
// that Docker chooses would have to be written into the advertised listeners after the start, and would be another one
// after a restart.
func containerRequest(l layout, m member, networkName string) testcontainers.ContainerRequest {
	at := place{listen: "0.0.0.0", peer: containerAlias}
	port := network.MustParsePort(strconv.Itoa(m.client) + "/tcp")
	script := fmt.Sprintf("cd /opt/kafka/bin && ./kafka-storage.sh format --cluster-id=%s --ignore-formatted --config %s"+
		" && exec ./kafka-server-start.sh %[2]s", l.clusterID, containerProperties)
	return testcontainers.ContainerRequest{
		Image:          "apache/kafka:" + Version(),
		Entrypoint:     []string{"/bin/bash", "-c", script},
		Env:            map[string]string{"KAFKA_HEAP_OPTS": "-Xmx512m"},
		ExposedPorts:   []string{port.String()},
		Networks:       []string{networkName},
		NetworkAliases: map[string][]string{networkName: {containerAlias(m)}},
		Files: []testcontainers.ContainerFile{{
			Reader:            strings.NewReader(l.properties(m, at, containerData)),
			ContainerFilePath: containerProperties,
			FileMode:          0o644,
		}},
		HostConfigModifier: func(host *container.HostConfig) {
			host.PortBindings = network.PortMap{port: {{
				HostIP:   netip.MustParseAddr(loopback),
				HostPort: strconv.Itoa(m.client),
			}}}
		},
	}
}

func containerAlias(m member) string { return "kafka-" + strconv.Itoa(m.id) }

func (n *dockerNode) start(ctx context.Context) error { return n.container.Start(ctx) }

func (n *dockerNode) stop(ctx context.Context, orderly bool) error {
	if orderly {
		limit := stopWithin
		return n.container.Stop(ctx, &limit)
	}
	_, err := n.docker.ContainerKill(ctx, n.container.GetContainerID(), client.ContainerKillOptions{Signal: "SIGKILL"})
	return err
}

func (n *dockerNode) alive(ctx context.Context) bool {
	state, err := n.container.State(ctx)
	return err == nil && state.Running
}

func (n *dockerNode) tail(ctx context.Context) string {
	logs, err := n.container.Logs(ctx)
	if err != nil {
		return err.Error()
	}
	defer logs.Close()
	return readTail(io.Reader(logs))
}
