package programs

// http.Transport through a proxy: requests for http, tunnels by CONNECT for https.

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// forwardProxy is an HTTP proxy that dials with the given side's dialer.
type forwardProxy struct {
	on              sides
	transport       http.Transport
	requests, opens atomic.Int32
}

func (p *forwardProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		p.opens.Add(1)
		p.tunnel(w, r)
		return
	}
	p.requests.Add(1)
	r.RequestURI = ""
	resp, err := p.transport.RoundTrip(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// tunnel copies in both directions until one of the sides ends.
func (p *forwardProxy) tunnel(w http.ResponseWriter, r *http.Request) {
	target, err := p.on.dialBounded(r.Context(), r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer target.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(target, buffered)
		_ = target.Close()
	}()
	_, _ = io.Copy(client, target)
}

// startTestServer starts a server of httptest on the side's listener.
func startTestServer(t *testing.T, on sides, h http.Handler, start func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	require.NoError(t, s.Listener.Close())
	s.Listener = on.listenOn(t, "127.0.0.1:0")
	start(s)
	t.Cleanup(func() {
		s.CloseClientConnections() // also those of tunnels, for which Close does not wait
		s.Close()
	})
	return s
}

// Behaviour 9.5: the transport writes its requests, also CONNECT, straight to the dialed connection.
func TestHTTPTransportGoesThroughAProxy(t *testing.T) {
	onNet := sides{name: "net"}
	for name, start := range map[string]func(*httptest.Server){
		"http": (*httptest.Server).Start, "https": (*httptest.Server).StartTLS,
	} {
		t.Run(name, func(t *testing.T) {
			for where, on := range map[string]struct{ client, others sides }{
				"net":               {onNet, onNet},
				"netpoll's client":  {sides{client: true}, onNet},
				"netpoll's servers": {onNet, sides{server: true, client: true}},
				"netpoll":           {sides{client: true}, sides{server: true, client: true}},
			} {
				t.Run(where, func(t *testing.T) {
					throughProxy(t, on.client, on.others, start)
				})
			}
		})
	}
}

func throughProxy(t *testing.T, on, others sides, start func(*httptest.Server)) {
	origin := startTestServer(t, others, http.HandlerFunc(echoBody), start)
	p := &forwardProxy{on: others}
	p.transport.DialContext = others.dial
	proxy := startTestServer(t, others, p, (*httptest.Server).Start)
	t.Cleanup(p.transport.CloseIdleConnections)
	proxyURL, err := url.Parse(proxy.URL)
	require.NoError(t, err)

	transport := &http.Transport{
		Proxy: http.ProxyURL(proxyURL),
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return on.dialBounded(ctx, address)
		},
	}
	if origin.TLS != nil {
		transport.TLSClientConfig = origin.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: soon}
	for i, size := range []int{0, 10, 300_000, 20} {
		body := pattern(i, size)
		resp, err := client.Post(origin.URL, "application/octet-stream", bytes.NewReader(body))
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode, string(got))
		require.Equal(t, digest(body), digest(got))
	}
	if strings.HasPrefix(origin.URL, "https") {
		require.EqualValues(t, 1, p.opens.Load(), "tunnels")
	} else {
		require.EqualValues(t, 4, p.requests.Load(), "requests")
	}
}
