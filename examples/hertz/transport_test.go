package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/hertz/pkg/network"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/cloudwego/hertz/pkg/protocol/suite"
	"github.com/cloudwego/netpoll/examples/internal/cert"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for an event before it fails.
const patience = 15 * time.Second

func TestMain(m *testing.M) {
	hlog.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// site is a running server.
type site struct {
	*server.Hertz
	addr   string
	config *tls.Config // of its clients
}

func (s *site) url(path string) string { return "https://" + s.addr + path }

func startSite(t *testing.T, routes ...func(*server.Hertz)) *site {
	t.Helper()
	serverConfig, clientConfig, err := cert.New()
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &site{newServer(ln, serverConfig), ln.Addr().String(), clientConfig}
	s.GET("/ip", func(_ context.Context, c *app.RequestContext) { c.String(http.StatusOK, c.RemoteAddr().String()) })
	for _, add := range routes {
		add(s.Hertz)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run() }()
	require.Eventually(t, s.IsRunning, patience, time.Millisecond)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		require.NoError(t, <-ran)
	})
	return s
}

// post returns the body of the answer.
func post(c *client.Client, url string, body []byte) ([]byte, error) {
	req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
	defer protocol.ReleaseRequest(req)
	defer protocol.ReleaseResponse(resp)
	req.SetMethod(http.MethodPost)
	req.SetRequestURI(url)
	req.SetBody(body)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := c.Do(ctx, req, resp)
	return bytes.Clone(resp.Body()), err
}

// overVersions runs test with a client of each version.
func overVersions(t *testing.T, test func(t *testing.T, s *site, c *client.Client)) {
	for _, version := range []string{suite.HTTP1, suite.HTTP2} {
		t.Run(version, func(t *testing.T) {
			s := startSite(t)
			c, err := newClient(version, s.config)
			require.NoError(t, err)
			t.Cleanup(c.CloseIdleConnections)
			test(t, s, c)
		})
	}
}

// pattern returns n bytes with a period of 251, so that a shift shows.
func pattern(seed, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((i + seed) % 251)
	}
	return p
}

func TestBodiesOfEverySize(t *testing.T) {
	overVersions(t, func(t *testing.T, s *site, c *client.Client) {
		for i, size := range []int{0, 1, 4096, 16384, 16385, 1 << 20, 3<<20 + 7} {
			body := pattern(i, size)
			got, err := post(c, s.url("/echo"), body)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, got), "%d bytes came back as other %d bytes", size, len(got))
		}
	})
}

func TestRequestsShareAConnection(t *testing.T) {
	overVersions(t, func(t *testing.T, s *site, c *client.Client) {
		peers := make(map[string]int)
		for range 10 {
			answer, err := get(t.Context(), c, s.url("/ip"))
			require.NoError(t, err)
			peers[answer]++
		}
		require.Len(t, peers, 1, "several connections")
	})
}

func TestManyRequestsAtOnce(t *testing.T) {
	const callers, requests = 20, 10
	overVersions(t, func(t *testing.T, s *site, c *client.Client) {
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range requests {
					body := pattern(caller, 1+i*5000)
					got, err := post(c, s.url("/echo"), body)
					if err != nil || !bytes.Equal(body, got) {
						t.Errorf("caller %d, request %d: %d bytes for %d, %v", caller, i, len(got), len(body), err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// net/http chooses the version by ALPN, too, and shows it.
func TestClientOfNetHTTPChoosesTheVersion(t *testing.T) {
	s := startSite(t)
	for _, h2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: s.config.Clone(), ForceAttemptHTTP2: h2}
		c := &http.Client{Transport: transport, Timeout: patience}
		body := pattern(1, 1<<20)
		resp, err := c.Post(s.url("/echo"), "application/octet-stream", bytes.NewReader(body))
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.True(t, bytes.Equal(body, got))
		require.Equal(t, h2, resp.ProtoMajor == 2)
		transport.CloseIdleConnections()
	}
}

func TestClientThatDoesNotSpeakTLSHarmsNobody(t *testing.T) {
	overVersions(t, func(t *testing.T, s *site, c *client.Client) {
		for range 3 {
			conn, err := net.Dial("tcp", s.addr)
			require.NoError(t, err)
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
			_, err = io.WriteString(conn, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
			require.NoError(t, err)
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.NotContains(t, string(answer), "hello")
			require.NoError(t, conn.Close())
			_, err = get(t.Context(), c, s.url("/hello"))
			require.NoError(t, err)
		}
	})
}

func TestClientRefusesAServerThatItDoesNotTrust(t *testing.T) {
	s := startSite(t)
	_, stranger, err := cert.New()
	require.NoError(t, err)
	for _, version := range []string{suite.HTTP1, suite.HTTP2} {
		c, err := newClient(version, stranger)
		require.NoError(t, err)
		_, err = post(c, s.url("/echo"), []byte("secret"))
		var untrusted *tls.CertificateVerificationError
		require.ErrorAs(t, err, &untrusted, version)
	}
}

func TestHandlerSeesTheSession(t *testing.T) {
	s := startSite(t, func(h *server.Hertz) {
		h.GET("/session", func(_ context.Context, c *app.RequestContext) {
			session := c.GetConn().(network.ConnTLSer).ConnectionState() // in HTTP/2 Hertz has another connection there
			c.String(http.StatusOK, session.NegotiatedProtocol)
		})
	})
	c, err := newClient(suite.HTTP1, s.config)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	answer, err := get(t.Context(), c, s.url("/session"))
	require.NoError(t, err)
	require.Equal(t, suite.HTTP1, answer)
}

// The client dials the proxy without TLS, and adds TLS after the answer to CONNECT.
func TestClientGoesThroughAProxy(t *testing.T) {
	s := startSite(t)
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() { runProxy(proxy, s.addr, &running) })
	t.Cleanup(func() {
		require.NoError(t, proxy.Close())
		running.Wait()
	})
	c, err := newClient(suite.HTTP1, s.config)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	c.SetProxy(protocol.ProxyURI(protocol.ParseURI("http://" + proxy.Addr().String())))
	for i := range 3 {
		body := pattern(i, 100_000)
		got, err := post(c, s.url("/echo?n="+strconv.Itoa(i)), body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, got))
	}
}

// runProxy forwards connections to one address.
func runProxy(ln net.Listener, to string, running *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer conn.Close()
			r := make([]byte, 1)
			var head []byte
			for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
				if _, err := conn.Read(r); err != nil {
					return
				}
				head = append(head, r...)
			}
			upstream, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer upstream.Close()
			fmt.Fprint(conn, "HTTP/1.1 200 Connection Established\r\n\r\n")
			running.Go(func() {
				_, _ = io.Copy(upstream, conn)
				_ = upstream.(*net.TCPConn).CloseWrite()
			})
			_, _ = io.Copy(conn, upstream)
		})
	}
}
