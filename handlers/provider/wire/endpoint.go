package wire

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// CheckBase reports what is wrong with an API's base URL, as a setting named
// base_url. example is what to write instead.
func CheckBase(base, example string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("base_url is no address: write it like " + example) // the parser's error would quote it
	case u.User != nil:
		return errors.New("base_url holds a credential: move it to api_key")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("base_url has a query or fragment: leave it out")
	}
	return nil
}

// CheckKey reports what keeps key from being sent in a header.
func CheckKey(key string) error {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] == 0x7f {
			return errors.New("api_key has blanks or line ends: remove them")
		}
	}
	return nil
}

// CheckHeaders reports the first of headers that cannot be sent.
func CheckHeaders(headers map[string]string) error {
	for k, v := range headers {
		if k == "" || strings.ContainsAny(k, " \t\r\n\x00:") || strings.ContainsAny(v, "\r\n\x00") {
			return fmt.Errorf("headers: %q is no header that can be sent", k)
		}
	}
	return nil
}

// Endpoint returns the address of path below base.
func Endpoint(base, path string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("reading base_url: it is no address")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.JoinPath(path), nil
}

// Header returns the headers of every request of a provider: those of the
// dialect, where not empty, and over them those of the configuration.
func Header(dialect, configured map[string]string) http.Header {
	h := make(http.Header, len(dialect)+len(configured)+2)
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "sira")
	for k, v := range dialect {
		if v != "" {
			h.Set(k, v)
		}
	}
	for k, v := range configured {
		h.Set(k, v)
	}
	return h
}
