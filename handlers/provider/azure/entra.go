package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// Entra is an application that Entra ID gives tokens to, by OAuth's client
// credentials (RFC 6749, section 4.4).
type Entra struct {
	TenantID     string         `json:"tenant_id"`
	ClientID     string         `json:"client_id"`
	ClientSecret catalog.Secret `json:"client_secret"`
	// Authority is the token service; empty: https://login.microsoftonline.com.
	// Sovereign clouds have their own.
	Authority string `json:"authority"`
	// Scope is what the token is for; empty: https://ai.azure.com/.default.
	Scope string `json:"scope"`
}

const (
	authority = "https://login.microsoftonline.com"
	scope     = "https://ai.azure.com/.default"
)

func (e *Entra) validate() error {
	if e.TenantID == "" || e.ClientID == "" || e.ClientSecret == "" {
		return errors.New("entra lacks tenant_id, client_id or client_secret: give all three")
	}
	if e.Authority != "" {
		if err := wire.CheckBase(e.Authority, authority); err != nil {
			return errors.New("entra.authority is no address: write it like " + authority)
		}
	}
	return nil
}

func (e *Entra) source(client *http.Client) TokenSource {
	if client == nil {
		client = http.DefaultClient
	}
	base, what := authority, scope
	if e.Authority != "" {
		base = strings.TrimRight(e.Authority, "/")
	}
	if e.Scope != "" {
		what = e.Scope
	}
	return &application{
		client: client,
		where:  base + "/" + url.PathEscape(e.TenantID) + "/oauth2/v2.0/token",
		form: url.Values{
			"grant_type": {"client_credentials"}, "client_id": {e.ClientID},
			"client_secret": {e.ClientSecret.Reveal()}, "scope": {what},
		}.Encode(),
		turn: make(chan struct{}, 1),
	}
}

// margin is how long before its end a token is replaced.
const margin = 5 * time.Minute

// maxTokenBody bounds the answer of the token service, in bytes.
const maxTokenBody = 64 << 10

// application fetches tokens and keeps the last one.
type application struct {
	client *http.Client
	where  string
	form   string
	turn   chan struct{} // one call at a time fetches

	mu    sync.Mutex
	token string
	until time.Time
}

// Token implements [TokenSource].
func (a *application) Token(ctx context.Context) (string, error) {
	if token := a.kept(); token != "" {
		return token, nil
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for a token: %w", context.Cause(ctx))
	}
	if token := a.kept(); token != "" { // another call fetched it
		return token, nil
	}
	token, lasts, err := a.fetch(ctx)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token, a.until = token, time.Now().Add(max(lasts-margin, lasts/2))
	return token, nil
}

func (a *application) kept() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().Before(a.until) {
		return a.token
	}
	return ""
}

// forget drops a token that was refused.
func (a *application) forget(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token == token {
		a.until = time.Time{}
	}
}

func (a *application) fetch(ctx context.Context) (string, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.where, strings.NewReader(a.form))
	if err != nil {
		return "", 0, errors.New("asking for a token: entra.authority is no address")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := a.client.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("asking for a token: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxTokenBody))
	if err != nil {
		return "", 0, fmt.Errorf("reading a token: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", 0, &refusedError{status: res.StatusCode}
	}
	var t struct {
		Token   string         `json:"access_token"`
		Seconds jsontext.Count `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &t); err != nil || t.Token == "" {
		return "", 0, errors.New("reading a token: the answer has none")
	}
	return t.Token, time.Duration(t.Seconds) * time.Second, nil
}

// refusedError says that the token service gave no token.
type refusedError struct{ status int }

// final reports whether asking again is no use.
func (e *refusedError) final() bool {
	return e.status/100 == 4 && e.status != http.StatusTooManyRequests
}

// Error names the status only: the body may quote the secret.
func (e *refusedError) Error() string {
	return fmt.Sprintf("asking for a token: the token service answered with status %d", e.status)
}

// refusal is the answer to a call for which the token service gave no token, in
// the form in which Azure refuses one.
func refusal(req *http.Request) *http.Response {
	const body = `{"error":{"code":"401","message":"Entra ID refused the application: check entra.tenant_id, client_id, client_secret and scope"}}`
	return &http.Response{
		Status: "401 Unauthorized", StatusCode: http.StatusUnauthorized, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// authorized returns client with a bearer token on each of its calls.
func authorized(client *http.Client, tokens TokenSource) *http.Client {
	if client == nil {
		client = http.DefaultClient
	}
	own := *client
	own.Transport = &bearer{next: own.Transport, tokens: tokens}
	return &own
}

// bearer adds tokens to calls. A token that is refused is fetched anew, once.
type bearer struct {
	next   http.RoundTripper
	tokens TokenSource
}

// RoundTrip implements [http.RoundTripper].
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	res, token, err := b.send(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}
	source, renews := b.tokens.(interface{ forget(token string) })
	if !renews || req.Body != nil && req.GetBody == nil {
		return res, nil
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return res, nil //nolint:nilerr // the refusal is the better answer
		}
	}
	_ = res.Body.Close()
	source.forget(token)
	res, _, err = b.send(again)
	return res, err
}

func (b *bearer) send(req *http.Request) (*http.Response, string, error) {
	token, err := b.tokens.Token(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		if refused, ok := errors.AsType[*refusedError](err); ok && refused.final() {
			return refusal(req), "", nil
		}
		return nil, "", err
	}
	signed := req.Clone(req.Context())
	signed.Header.Set("Authorization", "Bearer "+token)
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	res, err := next.RoundTrip(signed)
	return res, token, err
}
