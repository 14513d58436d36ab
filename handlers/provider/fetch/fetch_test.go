package fetch

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sira-ai/sira/schemas"
)

func fetcher(t *testing.T, allow ...string) *Fetcher {
	t.Helper()
	c := Defaults()
	c.Allow, c.MaxBytes, c.Timeout = allow, 1000, 5*time.Second
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return New(c)
}

func host(t *testing.T, f http.HandlerFunc) (address string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		f(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestMediaComesWithItsType(t *testing.T) {
	t.Parallel()
	address, _ := host(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Error("a credential was sent")
		}
		w.Header().Set("Content-Type", "Audio/WAV; x=y")
		_, _ = io.WriteString(w, "RIFF")
	})
	mime, data, err := fetcher(t, "127.0.0.0/8").Get(t.Context(), address, 100)
	if err != nil || mime != "audio/wav" || string(data) != "RIFF" {
		t.Errorf("%q %q %v", mime, data, err)
	}
}

// What is not public is not connected to, by whatever name it goes.
func TestOnlyPublicAddressesAreAsked(t *testing.T) {
	t.Parallel()
	address, asked := host(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
	for _, u := range []string{
		address, "http://localhost:" + port, "http://[::1]:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://0.0.0.0:" + port,
		"http://2130706433:" + port, "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "file:///etc/passwd", "gopher://x/", "http://user:pass@example.com/",
		"http:///nowhere", "://", "http://[fe80::1%25eth0]/",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, _, err := fetcher(t).Get(ctx, u, 100)
		cancel()
		f := schemas.AsFailure(err)
		if f == nil || f.Code != schemas.InvalidRequest && f.Code != schemas.Unsupported || strings.Contains(f.Message+f.Error(), "pass") {
			t.Errorf("%s: %+v", u, f)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("a host was asked %d times", asked.Load())
	}
}

func TestAddressesAreJudgedByTheirNetworks(t *testing.T) {
	t.Parallel()
	f := fetcher(t, "10.1.0.0/16", "media.internal")
	for address, fine := range map[string]bool{
		"8.8.8.8:443": true, "8.8.8.8:80": true, "[2600:1901::1]:443": true, "8.8.8.8:22": false, "8.8.8.8:6379": false,
		"10.1.2.3:9000": true, "10.2.2.3:80": false, "192.168.1.1:80": false, "172.16.0.1:443": false, "100.64.0.1:80": false,
		"127.0.0.1:80": false, "169.254.169.254:80": false, "0.0.0.0:80": false, "255.255.255.255:80": false, "224.0.0.1:80": false,
		"[::1]:80": false, "[::]:80": false, "[fe80::1]:80": false, "[fc00::1]:443": false, "[fd00:ec2::254]:80": false, "[::ffff:10.0.0.1]:80": false,
		"[64:ff9b::a00:1]:80": false, "[2002:7f00:1::]:80": false, "[2001::1]:80": false, "198.18.0.1:80": false, "nonsense": false,
	} {
		if err := f.judge(address); (err == nil) != fine {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A redirect is judged like the address that led there.
func TestRedirectsAreCheckedAgain(t *testing.T) {
	t.Parallel()
	inner, asked := host(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(inner, "http://"))
	for _, to := range []string{"http://127.0.0.2:" + port, "file:///etc/passwd", "http://x:y@127.0.0.1:" + port} {
		outer, _ := host(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
		_, _, err := fetcher(t, "127.0.0.1/32").Get(t.Context(), outer, 100)
		if f := schemas.AsFailure(err); f == nil || f.Code != schemas.InvalidRequest {
			t.Errorf("%s: %+v", to, f)
		}
	}
	round, times := host(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	_, _, err := fetcher(t, "127.0.0.1/32").Get(t.Context(), round, 100)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.InvalidRequest || times.Load() != maxRedirects+1 || asked.Load() != 0 {
		t.Errorf("%+v after %d redirects, %d asked", f, times.Load(), asked.Load())
	}
}

func TestSizeAndTimeAreBounded(t *testing.T) {
	t.Parallel()
	large, _ := host(t, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush() // no length is promised
		for range 100 {
			_, _ = io.WriteString(w, strings.Repeat("x", 1000))
		}
	})
	promised, _ := host(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000000") })
	empty, _ := host(t, func(http.ResponseWriter, *http.Request) {})
	absent, _ := host(t, http.NotFound)
	for address, want := range map[string]schemas.Code{
		large: schemas.PayloadTooLarge, promised: schemas.PayloadTooLarge, empty: schemas.InvalidRequest, absent: schemas.Unsupported,
	} {
		_, _, err := fetcher(t, "127.0.0.0/8").Get(t.Context(), address, 1<<40)
		if f := schemas.AsFailure(err); f == nil || f.Code != want {
			t.Errorf("%+v, want %s", f, want)
		}
	}
	silent, _ := host(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := Defaults()
	c.Allow, c.Timeout = []string{"127.0.0.1"}, 50*time.Millisecond
	began := time.Now()
	_, _, err := New(c).Get(t.Context(), silent, 100)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.Unsupported || time.Since(began) > 5*time.Second {
		t.Errorf("%+v after %s", f, time.Since(began))
	}
}
