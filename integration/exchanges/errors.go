package main

import (
	"encoding/json"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// The error payloads that people published stand in a folder of their own, but
// each names its provider and so comes to that provider's vendor, with the
// operation opError. Vendors take it for a chat, which can meet any error:
// operation by [named], framed in build, and classified in read as any refusal.

// named returns Sira's operation for a recording's name of it, by the vendor's
// table; "" where there is none.
func named(x *exchange, table map[string]schemas.Operation) schemas.Operation {
	if x.Op == opError {
		return schemas.OpChat
	}
	return table[x.Op]
}

// framed makes an event of a payload that was published without the line that it
// came in.
func framed(x *exchange) {
	body := strings.TrimSpace(x.Response.Body)
	if x.Op == opError && x.InStream && strings.HasPrefix(body, "{") {
		x.Response.Body = "data: " + strings.ReplaceAll(body, "\n", " ") + "\n\n"
	}
}

// complaint is what an error body says, in whichever form it says it.
type complaint struct {
	status        int
	words         []string // codes, types and reasons, the narrower first
	message, body string
}

// complaintOf reads an error body without knowing the vendor: error as an object,
// text or list, else the body itself.
func complaintOf(status int, body string) complaint {
	c := complaint{status: status, body: body}
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		c.message = body
		return c
	}
	c.take(v, 0)
	return c
}

func (c *complaint) take(v any, depth int) {
	if depth > 4 {
		return
	}
	switch v := v.(type) {
	case string:
		if c.message == "" {
			c.message = v
		}
	case []any:
		if len(v) > 0 {
			c.take(v[0], depth+1)
		}
	case object:
		for _, key := range []string{"error", "innererror", "inner_error"} {
			c.take(v[key], depth+1)
		}
		for _, key := range []string{"code", "type", "error_type", "status", "reason", "name"} {
			if s, ok := v[key].(string); ok && s != "" {
				c.words = append(c.words, s)
			}
		}
		for _, key := range []string{"message", "msg", "detail", "errors", "title"} {
			c.take(v[key], depth+1)
		}
	}
}

// says reports whether the message has one of the texts, in any case.
func (c *complaint) says(texts ...string) bool {
	m := strings.ToLower(c.message)
	for _, t := range texts {
		if strings.Contains(m, t) {
			return true
		}
	}
	return false
}

// classByStatus is what a status means by itself (CANONICAL.md section 7.2).
func classByStatus(status int) schemas.Code {
	switch status {
	case 401:
		return schemas.Auth
	case 402:
		return schemas.QuotaExhausted
	case 403:
		return schemas.Permission
	case 404, 410:
		return schemas.NotFound
	case 408, 504:
		return schemas.Timeout
	case 409:
		return schemas.Conflict
	case 413:
		return schemas.PayloadTooLarge
	case 429:
		return schemas.RateLimited
	case 502, 503:
		return schemas.Unavailable
	case 529:
		return schemas.Overloaded
	}
	switch {
	case status >= 500:
		return schemas.Internal
	case status >= 400:
		return schemas.InvalidRequest
	}
	return schemas.Unavailable
}
