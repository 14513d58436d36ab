package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// errExpired says that the server no longer knows the version that was watched
// from (410 Gone): the list must be read again.
var errExpired = errors.New("the watched version has expired")

const (
	// watchFor is how long the server is asked to keep a watch open.
	watchFor = 5 * time.Minute
	// maxBytes bounds a list, and a watch, which is then begun anew: a slice has up
	// to 1000 endpoints of a few hundred bytes.
	maxBytes = 64 << 20
)

// client reads the slices of one service.
type client struct {
	http      *http.Client
	url       string
	selector  string
	tokenFile string
	timeout   time.Duration
}

// list reads all slices into known and returns the version of the list.
func (c *client) list(ctx context.Context, known *service) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, err := c.get(ctx, url.Values{})
	if err != nil {
		return "", fmt.Errorf("listing endpoint slices: %w", err)
	}
	defer body.Close()
	var l list
	if err := json.NewDecoder(io.LimitReader(body, maxBytes)).Decode(&l); err != nil {
		return "", fmt.Errorf("listing endpoint slices: %w", err)
	}
	known.reset(l.Items)
	return l.Metadata.ResourceVersion, nil
}

// watch keeps known up to date from a version on, telling changed each time, until
// the server ends the watch. It returns the version that was reached.
func (c *client) watch(ctx context.Context, version string, known *service, changed func()) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, watchFor+c.timeout)
	defer cancel()
	body, err := c.get(ctx, url.Values{
		"watch": {"1"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {version},
		"timeoutSeconds": {strconv.Itoa(int(watchFor.Seconds()))},
	})
	if err != nil {
		return version, fmt.Errorf("watching endpoint slices: %w", err)
	}
	defer body.Close()
	version, err = read(io.LimitReader(body, maxBytes), version, known, changed)
	if err != nil && ctx.Err() == nil {
		return version, fmt.Errorf("watching endpoint slices: %w", err)
	}
	return version, nil
}

// read applies the events of a watch to known.
func read(r io.Reader, version string, known *service, changed func()) (string, error) {
	d := json.NewDecoder(r)
	for {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return version, nil // the server may end a watch at any time
		} else if err != nil {
			return version, err
		}
		if e.Type == "ERROR" {
			if e.Object.Code == http.StatusGone {
				return version, errExpired
			}
			return version, fmt.Errorf("the server ended the watch with status %d", e.Object.Code)
		}
		if v := e.Object.Metadata.ResourceVersion; v != "" {
			version = v
		}
		if known.apply(e.Type, e.Object.slice) {
			changed()
		}
	}
}

// get asks for the service's slices. The body is the caller's to close.
func (c *client) get(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	query.Set("labelSelector", c.selector)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if c.tokenFile != "" {
		token, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the service account's token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	switch res.StatusCode {
	case http.StatusOK:
		return res.Body, nil
	case http.StatusGone:
		err = errExpired
	case http.StatusUnauthorized, http.StatusForbidden:
		err = fmt.Errorf("status %d: the service account needs the verbs list and watch for endpointslices of discovery.k8s.io", res.StatusCode)
	default:
		err = fmt.Errorf("status %d", res.StatusCode)
	}
	return nil, errors.Join(err, res.Body.Close())
}
