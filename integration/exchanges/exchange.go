package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// exchange is a recorded call. The folder that its file is in names the provider,
// unless it does so itself.
type exchange struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
	Variant  string `json:"variant"`
	Op       string `json:"operation"`
	Stream   bool   `json:"stream"`
	Model    string `json:"model"`
	Request  struct {
		Method  string            `json:"method"`
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"` // text, or in some files a JSON value
	} `json:"request"`
	Response struct {
		Status       int               `json:"status"`
		Headers      map[string]string `json:"headers"`
		Body         string            `json:"body"`
		BodyEncoding string            `json:"body_encoding"`
	} `json:"response"`
	Quality []string `json:"quality"`

	// Of the error payloads that people published, which have no exchange.
	Status   int               `json:"status"`
	Headers  map[string]string `json:"headers"`
	Body     string            `json:"body"`
	InStream bool              `json:"in_stream"`
	Note     string            `json:"note"`

	file string
	line int
}

// requestBody returns the request's body as text.
func (x *exchange) requestBody() string {
	var s string
	if json.Unmarshal(x.Request.Body, &s) == nil {
		return s
	}
	return string(x.Request.Body)
}

// opError is the operation of error payloads without an exchange.
const opError = "error"

func load(dir string) ([]*exchange, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.jsonl"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no <provider>/*.jsonl: name a folder of recorded exchanges", dir)
	}
	var all []*exchange
	for _, name := range files {
		some, err := loadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func loadFile(name string) ([]*exchange, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	folder := filepath.Base(filepath.Dir(name))
	var all []*exchange
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			x := &exchange{file: name, line: n}
			if err := json.Unmarshal(line, x); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			if x.Provider == "" {
				x.Provider = folder
			}
			if x.Op == "" && x.Status != 0 {
				x.Op = opError
				x.Stream = x.InStream
				x.Response.Status, x.Response.Headers, x.Response.Body = x.Status, x.Headers, x.Body
			}
			all = append(all, x)
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// body returns the response's bytes.
func (x *exchange) body() []byte {
	if x.Response.BodyEncoding == "base64" {
		if b, err := base64.StdEncoding.DecodeString(x.Response.Body); err == nil {
			return b
		}
	}
	return []byte(x.Response.Body)
}

// RoundTrip gives the recorded answer to everything.
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	h := make(http.Header)
	for k, v := range x.Response.Headers {
		if strings.EqualFold(k, "Content-Type") && strings.Contains(v, "REDACTED") ||
			strings.EqualFold(k, "Content-Encoding") || strings.EqualFold(k, "Content-Length") {
			continue
		}
		h.Set(k, v)
	}
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	return &http.Response{
		StatusCode: x.Response.Status, Header: h, Request: req, ContentLength: -1,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(x.body())),
	}, nil
}
