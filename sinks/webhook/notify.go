package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/pubsub"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// Type is the type of every notification.
const Type = "request.completed"

// Notification is the body of a POST.
type Notification struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when the request was completed
	Data      Data      `json:"data"`
}

// Data is what a notification says about a result.
type Data struct {
	RequestID   string            `json:"request_id"`
	Tenant      string            `json:"tenant"`
	Status      schemas.Status    `json:"status"`
	Outcome     schemas.Code      `json:"outcome"` // ok, or the failure's code
	Model       string            `json:"model"`   // as requested
	Provider    string            `json:"provider,omitempty"`
	Cost        *schemas.Money    `json:"cost,omitempty"` // absent where nothing is priced
	CostState   schemas.CostState `json:"cost_state"`
	CreatedAt   time.Time         `json:"created_at,omitzero"`
	StartedAt   time.Time         `json:"started_at,omitzero"`
	CompletedAt time.Time         `json:"completed_at"`
	Origin      string            `json:"origin"` // topic/partition/offset of the request record
}

func notification(r *schemas.Result) Notification {
	d := Data{
		RequestID: r.RequestID, Tenant: r.Tenant, Status: r.Status, Outcome: schemas.OK, Model: r.Model, Cost: r.Cost.Money, CostState: r.Cost.State,
		CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, CompletedAt: r.CompletedAt, Origin: r.Origin,
	}
	if r.Failure != nil {
		d.Outcome = r.Failure.Code
	}
	if r.Target != nil {
		d.Provider = r.Target.Provider
	}
	return Notification{Type: Type, Timestamp: r.CompletedAt, Data: d}
}

// id names the notification of a request record for all time.
func id(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// handle reports whether the message is done with: told about, of no interest, or
// given up.
func (w *Webhook) handle(ctx context.Context, m *message.Message) bool {
	var r schemas.Result
	if err := w.read(ctx, m.Payload, &r); err != nil {
		if errors.Is(err, avro.ErrRegistryUnavailable) || ctx.Err() != nil {
			return false
		}
		w.sent.WithLabelValues("unreadable").Inc()
		w.deps.Log.Warn("a result can't be read; nobody is told about it", where(m))
		return true
	}
	n := notification(&r)
	if len(w.cfg.Only) > 0 && !slices.Contains(w.cfg.Only, string(n.Data.Outcome)) {
		return true
	}
	body, err := json.Marshal(&n)
	if err != nil {
		w.sent.WithLabelValues("unreadable").Inc()
		w.deps.Log.Warn("a result can't be written as JSON; nobody is told about it", where(m))
		return true
	}
	status, err := w.post(ctx, id(r.Origin), body)
	switch {
	case err == nil && status/100 == 2:
		w.sent.WithLabelValues("delivered").Inc()
		return true
	case err == nil && final(status):
		w.sent.WithLabelValues("given_up").Inc()
		w.deps.Log.Warn("the webhook's receiver refused a notification; it is given up", zap.Int("status", status), zap.String("request_id", r.RequestID))
		return true
	}
	w.sent.WithLabelValues("again").Inc()
	return false
}

func where(m *message.Message) zap.Field {
	return zap.String("record", m.Metadata.Get(pubsub.MetadataPartition)+"/"+m.Metadata.Get(pubsub.MetadataOffset))
}

// final reports whether a status will be the same the next time. A redirect is
// not followed, and may be gone when the receiver is put right.
func final(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status/100 == 4
}

func (w *Webhook) read(ctx context.Context, value []byte, r *schemas.Result) error {
	if len(value) > 0 && value[0] == 0 {
		return w.deps.Codecs.Result.Decode(ctx, value, r)
	}
	return json.Unmarshal(value, r)
}

func (w *Webhook) post(ctx context.Context, id string, body []byte) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("making request: %w", err)
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sira")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", at)
	req.Header.Set("webhook-signature", Sign(w.key, id, at, body))
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("posting: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	return resp.StatusCode, nil
}

// Sign returns the signature of Standard Webhooks, version 1, as its header carries
// it. timestamp is in seconds since 1970.
func Sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
