package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
)

const (
	embeddedLockFile = "sira.lock"
	// embeddedMinSession lets members of classic groups choose a session timeout of one second, so that after a kill -9 the
	// group does not wait the six seconds that Kafka insists on.
	embeddedMinSession = time.Second
	embeddedPartitions = 4
)

// EmbeddedConfig says where an embedded broker listens and keeps its data.
type EmbeddedConfig struct {
	// Addr is the host:port to listen on. The host must be a loopback address. Port 0, or an empty Addr, takes a free port.
	Addr string `json:"addr,omitempty"`
	// Dir is the folder for topics, offsets and transactions; it is made if missing. Empty keeps all in memory, for ever.
	Dir string `json:"dir,omitempty"`
	// SyncWrites calls fsync for every batch. Without it records survive the death of the process, but not of the machine.
	SyncWrites bool `json:"sync_writes,omitempty"`
	// Log gets the broker's warnings and errors. Nil discards them.
	Log *zap.Logger `json:"-"`
}

// Validate says what to write instead of an address that is not loopback.
func (c EmbeddedConfig) Validate() error {
	if c.Addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("addr: %q is no address; write host:port, for example 127.0.0.1:9092", c.Addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("addr: %q has no usable port; write a number from 0 to 65535", c.Addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("addr: %q is not loopback; the embedded broker has no login, so write 127.0.0.1:%s, "+
			"or use a real Kafka cluster to serve other machines", c.Addr, port)
	}
	return nil
}

// Embedded is a Kafka broker inside this process, for development, tests and demonstrations: one node, no replication, no
// login, loopback only. It speaks the wire protocol of Kafka 4, groups and transactions included, to any client.
//
// With a Dir it survives kill -9 of the process: topics, records and committed offsets are there again when the next one
// starts, a transaction is there as a whole or not at all, and none that was open can go on. It never creates topics on its
// own: an auto-created topic would be forgotten by such a death, so create them with EnsureTopics.
type Embedded struct {
	cluster *kfake.Cluster
	dir     string
	intents *intents
	disk    *disk         // nil: all is in memory
	open    chan struct{} // closed once clients may come in
	closed  chan struct{} // closed by Close
	forgot  bool          // the last broker on dir was killed, and groups used it
	addr    string
	lock    *os.File
	close   sync.Once
}

// StartEmbedded starts a broker that accepts clients when StartEmbedded returns. Two brokers cannot share a Dir: the second
// gets an error that names the process of the first. Close the broker to release address and folder.
func StartEmbedded(cfg EmbeddedConfig) (*Embedded, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring embedded kafka: %w", err)
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	e := &Embedded{dir: cfg.Dir, open: make(chan struct{}), closed: make(chan struct{})}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("sira-embedded"),
		kfake.DefaultNumPartitions(embeddedPartitions),
		kfake.GroupMinSessionTimeout(embeddedMinSession),
		kfake.WithLogger(embeddedLogger{cfg.Log}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			l, err := new(net.ListenConfig).Listen(context.Background(), network, cfg.Addr)
			return &gatedListener{Listener: l, open: e.open}, err
		}),
		// Members of groups with server-side assignment take these from the broker, whose defaults (5 s and 45 s) would make
		// every restart after a kill wait that long.
		kfake.BrokerConfigs(map[string]string{
			"group.consumer.heartbeat.interval.ms": "300",
			"group.consumer.session.timeout.ms":    "6000",
			"default.replication.factor":           "1",
			"min.insync.replicas":                  "1",
		}),
	}
	lock, err := lockEmbeddedDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e.lock = lock
	if cfg.Dir != "" {
		opts = append(opts, kfake.DataDir(cfg.Dir))
		if err := e.prepare(cfg); err != nil {
			unlockEmbeddedDir(lock)
			return nil, fmt.Errorf("repairing embedded kafka's folder %s: %w", cfg.Dir, err)
		}
	}
	if cfg.SyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		close(e.open)
		e.release(false)
		return nil, fmt.Errorf("starting embedded kafka on %s: %w", cfg.Addr, err)
	}
	e.cluster, e.addr = cluster, cluster.ListenAddrs()[0]
	boundFetches(cluster)
	if e.intents != nil {
		e.disk = &disk{dir: cfg.Dir, log: cfg.Log, room: freeBytes, free: math.MaxInt64}
		e.disk.watch(cluster)
		e.intents.watch(cluster)
	}
	if e.forgot {
		awaitMembers(cluster, e.closed)
	}
	close(e.open)
	return e, nil
}

// gatedListener lets nobody in before it is open: the broker would serve them before anyone watches it.
type gatedListener struct {
	net.Listener
	open <-chan struct{}
}

// Accept implements net.Listener.
func (l *gatedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		<-l.open
	}
	return c, err
}

// prepare makes the folder whole if its last broker died, and marks it as in use.
func (e *Embedded) prepare(cfg EmbeddedConfig) error {
	clean := filepath.Join(e.dir, embeddedCleanFile)
	if _, err := os.Stat(clean); err != nil {
		if err := repairEmbedded(e.dir); err != nil {
			return err
		}
		groups, err := os.Stat(filepath.Join(e.dir, embeddedGroupsLog))
		e.forgot = err == nil && groups.Size() > 0
	} else if err := os.Remove(clean); err != nil {
		return err
	}
	var err error
	e.intents, err = openIntents(e.dir, cfg.SyncWrites, cfg.Log)
	return err
}

// release gives the folder up. It is clean if the broker has saved its state.
func (e *Embedded) release(clean bool) {
	if e.intents != nil {
		e.intents.close()
		if clean {
			// Without the mark the next start looks for damage and finds none.
			_ = os.WriteFile(filepath.Join(e.dir, embeddedCleanFile), nil, 0o640)
		}
	}
	unlockEmbeddedDir(e.lock)
}

// Addr returns the host:port that the broker listens on, with the port it was given for port 0.
func (e *Embedded) Addr() string { return e.addr }

// Brokers returns Addr as the list that Config.Brokers wants.
func (e *Embedded) Brokers() []string { return []string{e.addr} }

// Close writes the state to Dir, closes all connections and releases Dir. Close the clients first: they would go on trying.
// Closing twice is harmless.
func (e *Embedded) Close() {
	e.close.Do(func() {
		close(e.closed)
		e.cluster.Close()
		e.release(true)
	})
}

// lockEmbeddedDir takes an flock, which the kernel drops when the process dies, however it dies. The file stays: removing it
// would let a third process lock a new file of that name while the second holds the removed one.
func lockEmbeddedDir(dir string) (*os.File, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making embedded kafka's folder: %w", err)
	}
	path := filepath.Join(dir, embeddedLockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening embedded kafka's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		holder, _ := os.ReadFile(path)
		return nil, fmt.Errorf("embedded kafka's folder %s is in use by process %s; stop it or choose another folder: %w",
			dir, strings.TrimSpace(string(holder)), err)
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if err := errors.Join(f.Truncate(0), writeAtStart(f, pid)); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return f, nil
}

func writeAtStart(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

func unlockEmbeddedDir(f *os.File) {
	if f != nil {
		_ = f.Close()
	}
}

// embeddedLogger passes on what someone may have to look at. The broker's info level names every request, and it warns of each
// heartbeat that comes later than twice our short interval, which a busy laptop does all day.
type embeddedLogger struct{ log *zap.Logger }

// Logf implements kfake.Logger.
func (l embeddedLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch {
	case level == kfake.LogLevelError:
		l.log.Error("embedded kafka: " + fmt.Sprintf(format, args...))
	case level == kfake.LogLevelWarn && !strings.HasPrefix(format, "consumerHeartbeatLate"):
		l.log.Warn("embedded kafka: " + fmt.Sprintf(format, args...))
	}
}
