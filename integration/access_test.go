package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/integration/kafkatest"
	"github.com/sira-ai/sira/pipeline/kafka"
)

// guarded is an Apache Kafka that takes encrypted connections with a login only,
// and grants nobody anything by itself.
type guarded struct {
	t       *testing.T
	cluster *kafkatest.Cluster
	ca      string // a PEM file
}

const (
	adminName     = "admin"
	adminPassword = "admin-password"
	rolePassword  = "role-password"
)

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	ca, chain, key := certificates(t)
	g := &guarded{t: t, ca: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(g.ca, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	const module = "org.apache.kafka.common.security."
	client := func(key string) string { return "listener.name.client." + key }
	admin := g.client(adminName)
	opts, err := admin.Options(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.cluster = kafkatest.Start(t, kafkatest.Options{Client: opts[1:], Properties: map[string]string{ // without the seed brokers, which Start knows
		"listener.security.protocol.map":                "CLIENT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"authorizer.class.name":                         "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                   "User:" + adminName + ";User:ANONYMOUS", // brokers among themselves
		client("sasl.enabled.mechanisms"):               "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
		client("plain.sasl.jaas.config"):                module + `plain.PlainLoginModule required user_` + adminName + `="` + adminPassword + `";`,
		client("scram-sha-512.sasl.jaas.config"):        module + "scram.ScramLoginModule required;",
		client("oauthbearer.sasl.jaas.config"):          module + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
		client("oauthbearer.connections.max.reauth.ms"): "0",
		client("ssl.keystore.type"):                     "PEM",
		client("ssl.keystore.certificate.chain"):        string(chain),
		client("ssl.keystore.key"):                      string(key),
	}})
	return g
}

// client says how a user reaches the cluster. The administrator's login is the one
// that the brokers know from the start.
func (g *guarded) client(user string) kafka.Config {
	c := kafka.Config{Brokers: []string{"127.0.0.1:1"}, TLS: &kafka.TLSConfig{CA: g.ca}, SASL: &kafka.SASLConfig{Mechanism: kafka.SASLScramSHA512, Username: user, Password: rolePassword}}
	if user == adminName {
		c.SASL.Mechanism, c.SASL.Password = kafka.SASLPlain, adminPassword
	}
	if g.cluster != nil {
		c.Brokers = g.cluster.Brokers()
	}
	return c
}

// token is the client of a user that logs in with a bearer token from a file.
func (g *guarded) token(user string) kafka.Config {
	g.t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			g.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now()
	token := part(map[string]string{"alg": "none"}) + "." + part(map[string]any{"sub": user, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}) + "."
	path := filepath.Join(g.t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		g.t.Fatal(err)
	}
	c := g.client(user)
	c.SASL = &kafka.SASLConfig{Mechanism: kafka.SASLOAuthBearer, TokenFile: path}
	return c
}

// certificates returns an authority, and a certificate for loopback with its key,
// all as PEM.
func certificates(t *testing.T) (ca, chain, key []byte) {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	rootKey, leafKey := newKey(), newKey()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	return text("CERTIFICATE", rootDER), append(text("CERTIFICATE", leafDER), text("CERTIFICATE", rootDER)...), text("PRIVATE KEY", keyDER)
}

// grant makes users and gives each what docs/security.md says, and nothing else.
func (g *guarded) grant() (roles []string) {
	g.t.Helper()
	cl, err := g.client(adminName).NewClient(nil, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	defer cl.Close()
	adm, ctx := kadm.NewClient(cl), g.t.Context()
	for _, line := range documentedACLs(g.t) {
		user, resource, name, ops := line[0], line[1], line[2], line[3:]
		if !slices.Contains(roles, user) {
			roles = append(roles, user)
		}
		b := kadm.NewACLs().Allow("User:" + user).AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral)
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			name, b = prefix, b.ResourcePatternType(kadm.ACLPatternPrefixed)
		}
		switch resource {
		case "topic":
			b = b.Topics(name)
		case "group":
			b = b.Groups(name)
		case "transactional-id":
			b = b.TransactionalIDs(name)
		default:
			g.t.Fatalf("docs/security.md names the resource %q", resource)
		}
		known := map[string]kadm.ACLOperation{"Describe": kadm.OpDescribe, "Read": kadm.OpRead, "Write": kadm.OpWrite}
		for _, op := range ops {
			if _, ok := known[op]; !ok {
				g.t.Fatalf("docs/security.md names the operation %q", op)
			}
			made, err := adm.CreateACLs(ctx, b.Operations(known[op]))
			if err == nil && len(made) != 1 {
				err = fmt.Errorf("%d were made", len(made))
			}
			for _, m := range made {
				err = errors.Join(err, m.Err)
			}
			if err != nil {
				g.t.Fatalf("granting %v: %v", line, err)
			}
		}
	}
	for _, user := range roles {
		altered, err := adm.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: user, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: rolePassword}})
		if err = errors.Join(err, altered.Error()); err != nil {
			g.t.Fatalf("making %s: %v", user, err)
		}
	}
	return roles
}

// documentedACLs returns the lines of the block "acl" in docs/security.md: role,
// resource, name (prefixed where it ends with *) and operations.
func documentedACLs(t *testing.T) (lines [][]string) {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```acl\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("docs/security.md has no block of ACLs")
	}
	for line := range strings.Lines(block) {
		if fields := strings.Fields(line); len(fields) >= 4 {
			lines = append(lines, fields)
		}
	}
	return lines
}

// Every role does its work over TLS, logged in by SCRAM or with a bearer token,
// with no more rights than the documentation lists; and each is refused what is
// not its own.
func TestEveryRoleWorksWithItsRightsAlone(t *testing.T) {
	heavy(t)
	g := newGuarded(t)
	roles := g.grant()
	if want := []string{"analyst", "consumer", "notifier", "producer", "recorder", "worker"}; !slices.Equal(slices.Sorted(slices.Values(roles)), want) {
		t.Fatalf("the documentation has rights for %v, want %v", roles, want)
	}
	var notified atomic.Int64
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { notified.Add(1) }))
	t.Cleanup(hook.Close)
	n := &network{t: t, results: map[string]int{}, costs: map[string]int{}, failed: map[string]string{}}
	services := Document{"http": Document{"addr": "off"}, "kafka": Document{"partitions": 4, "lanes": []Document{{"name": "standard", "max_age": "5m"}}}}
	n.services = n.run(n.document("services", services, Document{
		"registry": Document{"listen": "127.0.0.1:0"}, "clickhouse": Document{"listen": "127.0.0.1:0"}, "simulator": Document{"listen": "127.0.0.1:0", "seed": 1},
	}), app.RoleRegistry, app.RoleClickHouse, app.RoleSimulator)
	n.cfg = n.services.Effective()
	n.cfg.Kafka.Config = g.client(adminName)
	g.makeTopics(n)
	role := func(user string, kafka kafka.Config, role app.Role) {
		cfg := n.document(user, services, Document{
			"registry": Document{"url": "http://" + n.cfg.Registry.Listen}, "clickhouse": Document{"dsn": n.cfg.ClickHouseDSN()},
			"providers": []Document{{"name": "openai", "kind": "openai", "base_url": "http://" + n.cfg.Simulator.Listen + "/llm/openai/v1", "api_key": "any"}},
			"models":    []Document{{"name": "gpt-4o-mini", "targets": []Document{{"provider": "openai", "model": "gpt-4o-mini"}}}},
			"webhooks":  []Document{{"url": hook.URL, "secret": "0123456789abcdef0123456789abcdef"}},
		})
		cfg.Kafka.Config = kafka
		n.run(cfg, role)
	}
	role("worker", g.client("worker"), app.RoleWorker)
	role("worker-2", g.token("worker"), app.RoleWorker)
	role("recorder", g.client("recorder"), app.RoleRecorder)
	role("analyst", g.client("analyst"), app.RoleAnalyst)
	role("notifier", g.token("notifier"), app.RoleNotifier)
	const requests = 400
	g.produce(n, requests)
	g.consume(n, requests)
	for late := time.Now().Add(time.Minute); ; pauseFor(t, 200*time.Millisecond) {
		rows, err := n.recorded(t.Context())
		if err == nil && rows["requests"] == requests && rows["costs"] == requests && notified.Load() == requests {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("recorded %v (%v), notified %d times, want %d", rows, err, notified.Load(), requests)
		}
	}
	g.refused(n)
}

func (g *guarded) makeTopics(n *network) {
	g.t.Helper()
	cl, err := g.client(adminName).NewClient(nil, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kafka.EnsureTopics(g.t.Context(), cl, n.cfg.Topics()); err != nil {
		g.t.Fatal(err)
	}
}

// produce sends requests as a producer would.
func (g *guarded) produce(n *network, requests int) {
	g.t.Helper()
	cl, err := g.client("producer").NewClient(nil, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	defer cl.Close()
	for i := range requests {
		req := question(fmt.Sprintf("guarded-%d", i), "gpt-4o-mini", i%5 == 0)
		value, err := json.Marshal(req)
		if err != nil {
			g.t.Fatal(err)
		}
		cl.Produce(g.t.Context(), &kgo.Record{Topic: n.cfg.RequestTopic("standard"), Key: []byte(req.ID), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				g.t.Errorf("producing: %v", err)
			}
		})
	}
	if err := cl.Flush(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
}

// consume reads results as a consumer would, until each request has one.
func (g *guarded) consume(n *network, requests int) {
	g.t.Helper()
	cl, err := g.client("consumer").NewClient(nil, nil, kgo.ConsumeTopics(n.cfg.Topic(app.TopicResults)), kgo.ConsumerGroup("acme.answers"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		g.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	seen := map[string]int{}
	for len(seen) < requests {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			g.t.Fatalf("%d of %d results: %v", len(seen), requests, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if seen[string(r.Key)]++; seen[string(r.Key)] > 1 {
				g.t.Errorf("%s has two results", r.Key)
			}
		})
	}
}

// refused tries what is not a role's own.
func (g *guarded) refused(n *network) {
	g.t.Helper()
	write := func(user, topic string) error {
		return g.as(user, nil, func(ctx context.Context, cl *kgo.Client) error {
			return cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr()
		})
	}
	read := func(user, topic string) error {
		opts := []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}})}
		return g.as(user, opts, func(ctx context.Context, cl *kgo.Client) error { return cl.PollFetches(ctx).Err() })
	}
	requests, results := n.cfg.RequestTopic("standard"), n.cfg.Topic(app.TopicResults)
	for what, err := range map[string]error{
		"a producer writes a retry":          write("producer", "sira.retry.30s"),
		"a producer writes a result":         write("producer", results),
		"a producer reads requests":          read("producer", requests),
		"a consumer reads requests":          read("consumer", requests),
		"a consumer writes a request":        write("consumer", requests),
		"a consumer reads dead letters":      read("consumer", n.cfg.Topic(app.TopicDead)),
		"a recorder reads requests":          read("recorder", requests),
		"a recorder reads chunks":            read("recorder", n.cfg.Topic(app.TopicChunks)),
		"a recorder writes a result":         write("recorder", results),
		"an analyst reads requests":          read("analyst", requests),
		"an analyst writes a result":         write("analyst", results),
		"a notifier reads costs":             read("notifier", n.cfg.Topic(app.TopicCosts)),
		"a notifier writes a result":         write("notifier", results),
		"a worker reads results":             read("worker", results),
		"a worker writes a request":          write("worker", requests),
		"a worker writes someone's topic":    write("worker", "elsewhere"),
		"a worker makes a topic":             g.make("worker", "sira.more"),
		"a producer makes a topic":           g.make("producer", "sira.requests.more"),
		"a worker takes another transaction": g.transact("worker", "someone.else"),
	} {
		if !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) && !errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
			g.t.Errorf("%s: %v, want an authorization error", what, err)
		}
	}
	wrong := g.client("worker")
	wrong.SASL.Password = "guessed"
	if err := g.with(wrong, nil, func(ctx context.Context, cl *kgo.Client) error { return cl.Ping(ctx) }); err == nil {
		g.t.Error("a wrong password was taken")
	}
	plain := g.client("worker")
	plain.TLS = &kafka.TLSConfig{} // the system's authorities do not know this one
	if err := g.with(plain, nil, func(ctx context.Context, cl *kgo.Client) error { return cl.Ping(ctx) }); err == nil {
		g.t.Error("a certificate of an unknown authority was taken")
	}
}

func (g *guarded) make(user, topic string) error {
	return g.as(user, nil, func(ctx context.Context, cl *kgo.Client) error {
		made, err := kadm.NewClient(cl).CreateTopics(ctx, 1, 1, nil, topic)
		return errors.Join(err, made.Error())
	})
}

func (g *guarded) transact(user, id string) error {
	return g.as(user, []kgo.Opt{kgo.TransactionalID(id)}, func(ctx context.Context, cl *kgo.Client) error {
		_, _, err := cl.ProducerID(ctx)
		return err
	})
}

func (g *guarded) as(user string, opts []kgo.Opt, do func(context.Context, *kgo.Client) error) error {
	return g.with(g.client(user), opts, do)
}

func (g *guarded) with(cfg kafka.Config, opts []kgo.Opt, do func(context.Context, *kgo.Client) error) error {
	cl, err := cfg.NewClient(nil, nil, append(opts, kgo.RetryTimeout(5*time.Second), kgo.RecordRetries(2), kgo.UnknownTopicRetries(1))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(g.t.Context(), 15*time.Second)
	defer cancel()
	return do(ctx, cl)
}
