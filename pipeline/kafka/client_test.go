package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sira-ai/sira/pipeline/catalog"
)

func TestConfigFaultsComeTogetherWithAdvice(t *testing.T) {
	t.Parallel()
	err := Config{
		Brokers: []string{"kafka://a:9092", "b", "c:0", ":9092"},
		TLS:     &TLSConfig{Cert: "cert.pem"},
		SASL:    &SASLConfig{Mechanism: "kerberos"},
	}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"brokers[0]: \"kafka://a:9092\" is a URL; write host:port", "brokers[1]: \"b\" is no address", "brokers[2]: \"c:0\" has no usable port",
		"brokers[3]", "cert and key belong together", `sasl.mechanism: "kerberos" is unknown; write plain`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestLoginsAreCheckedPerMechanism(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		sasl SASLConfig
		want string // "" accepts
	}{
		{"plain", SASLConfig{Mechanism: SASLPlain, Username: "u", Password: "p"}, ""},
		{"scram without password", SASLConfig{Mechanism: SASLScramSHA256, Username: "u"}, "needs username and password"},
		{"scram with token", SASLConfig{Mechanism: SASLScramSHA512, Username: "u", Password: "p", Token: "t"}, "token is only for oauthbearer"},
		{"token", SASLConfig{Mechanism: SASLOAuthBearer, Token: "t"}, ""},
		{"token twice", SASLConfig{Mechanism: SASLOAuthBearer, Token: "t", TokenFile: "f"}, "exactly one of token and token_file"},
		{"token and password", SASLConfig{Mechanism: SASLOAuthBearer, Token: "t", Password: "p"}, "takes no username and password"},
	} {
		err := Config{Brokers: []string{"localhost:9092"}, SASL: &tc.sasl}.Validate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestSecretsNeverShow(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	c := Config{Brokers: []string{"localhost:9092"}, SASL: &SASLConfig{Mechanism: SASLPlain, Username: "u", Password: secret}}
	core, logs := observer.New(zapcore.DebugLevel)
	log := zap.New(core)
	log.Info("config", zap.Any("sasl", c.SASL), zap.Any("password", c.SASL.Password), zap.Reflect("reflected", c.SASL.Password))
	if _, err := c.Options(log, nil); err != nil {
		t.Fatal(err)
	}
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	var shown []string
	for _, e := range logs.All() {
		b, err := enc.EncodeEntry(e.Entry, e.Context)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, b.String())
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, *c.SASL), fmt.Sprintf(verb, c.SASL.Password))
	}
	js, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown = append(shown, string(js))
	for _, s := range shown {
		if strings.Contains(s, secret) || strings.Contains(s, fmt.Sprintf("%x", secret)) {
			t.Errorf("the secret shows in %s", s)
		}
	}
	if !strings.Contains(string(js), "[redacted]") {
		t.Errorf("json is %s, want [redacted] in it", js)
	}
	if got := c.SASL.Password.Reveal(); got != secret {
		t.Errorf("Reveal is %q", got)
	}
	var back Config
	if err := json.Unmarshal([]byte(`{"sasl":{"password":"hunter2"}}`), &back); err != nil || back.SASL.Password != secret {
		t.Errorf("decoding gave %v, %v", back.SASL, err)
	}
}

// clientLabels returns the client labels in the registry and how many metrics carry each.
func clientLabels(t *testing.T, reg *prometheus.Registry) map[string]bool {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), metricsNamespace) {
			t.Errorf("metric %s lacks the prefix %s", f.GetName(), metricsNamespace)
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "client" {
					out[l.GetValue()] = true
				}
			}
		}
	}
	return out
}

// With kprom alone the second client panics: duplicate metrics collector registration attempted.
func TestManyClientsShareARegistry(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reg := prometheus.NewRegistry()
	cfg := Config{Brokers: c.ListenAddrs(), ClientID: "worker"}
	first, err := cfg.NewClient(nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	second, err := cfg.NewClient(nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"worker": true, "worker-2": true}, clientLabels(t, reg)); diff != "" {
		t.Errorf("client labels (-want +got):\n%s", diff)
	}
	first.Close()
	if diff := cmp.Diff(map[string]bool{"worker-2": true}, clientLabels(t, reg)); diff != "" {
		t.Errorf("after a close (-want +got):\n%s", diff)
	}
	third, err := cfg.NewClient(nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if diff := cmp.Diff(map[string]bool{"worker": true, "worker-2": true}, clientLabels(t, reg)); diff != "" {
		t.Errorf("a freed label is taken again (-want +got):\n%s", diff)
	}
}

func TestLogins(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "p", "secret"),
		kfake.Superuser("SCRAM-SHA-256", "s", "secret"), kfake.Superuser("SCRAM-SHA-512", "s", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, tc := range []struct {
		sasl SASLConfig
		ok   bool
	}{
		{SASLConfig{Mechanism: SASLPlain, Username: "p", Password: "secret"}, true},
		{SASLConfig{Mechanism: SASLScramSHA256, Username: "s", Password: "secret"}, true},
		{SASLConfig{Mechanism: SASLScramSHA512, Username: "s", Password: "secret"}, true},
		{SASLConfig{Mechanism: SASLScramSHA512, Username: "s", Password: "wrong-one"}, false},
	} {
		core, logs := observer.New(zapcore.DebugLevel)
		cl, err := Config{Brokers: c.ListenAddrs(), SASL: &tc.sasl}.NewClient(zap.New(core), nil)
		if err != nil {
			t.Fatal(err)
		}
		err = cl.Ping(t.Context())
		cl.Close()
		if (err == nil) != tc.ok {
			t.Errorf("%s with %s: %v, want ok=%v", tc.sasl.Mechanism, tc.sasl.Password.Reveal(), err, tc.ok)
		}
		shown := fmt.Sprint(err)
		for _, e := range logs.All() {
			shown += fmt.Sprint(e.Message, e.ContextMap())
		}
		if strings.Contains(shown, tc.sasl.Password.Reveal()) {
			t.Errorf("the password shows: %s", shown)
		}
	}
}

// newCertificate writes a self-signed certificate for 127.0.0.1 and its key into dir.
func newCertificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sira test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", keyDER)
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	cert, key := newCertificate(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, tc := range []struct {
		name string
		tls  TLSConfig
		ok   bool
	}{
		{"both prove themselves", TLSConfig{CA: cert, Cert: cert, Key: key}, true},
		{"no client certificate", TLSConfig{CA: cert}, false},
		{"unknown authority", TLSConfig{Cert: cert, Key: key}, false},
		{"any broker will do", TLSConfig{Cert: cert, Key: key, InsecureSkipVerify: true}, true},
		{"other name", TLSConfig{CA: cert, Cert: cert, Key: key, ServerName: "kafka.example"}, false},
	} {
		cl, err := Config{Brokers: c.ListenAddrs(), TLS: &tc.tls}.NewClient(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = cl.Ping(t.Context())
		cl.Close()
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v, want ok=%v", tc.name, err, tc.ok)
		}
	}
}

func TestMissingTLSFilesAreKnownBeforeTheFirstConnection(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []TLSConfig{{CA: "absent.pem"}, {CA: empty}, {Cert: "absent.pem", Key: "absent.pem"}} {
		if _, err := (Config{Brokers: []string{"localhost:9092"}, TLS: &tc}).NewClient(nil, nil); err == nil {
			t.Errorf("%+v: accepted", tc)
		}
	}
}

func TestBearerTokenFileIsReadForEveryLogin(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	m := SASLConfig{Mechanism: SASLOAuthBearer, TokenFile: path, Extensions: map[string]string{"logicalCluster": "lkc-1"}}.build()
	if _, _, err := m.Authenticate(t.Context(), ""); err == nil {
		t.Error("logged in without a token file")
	}
	for _, token := range []catalog.Secret{"first", "second"} {
		if err := os.WriteFile(path, []byte(token.Reveal()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, first, err := m.Authenticate(t.Context(), "")
		if err != nil || !strings.Contains(string(first), "Bearer "+token.Reveal()+"\x01logicalCluster=lkc-1") {
			t.Errorf("sent %q, %v", first, err)
		}
	}
}
