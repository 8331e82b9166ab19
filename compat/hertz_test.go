package compat

// Hertz over this library: requests of every shape and the reuse of connections.

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	hertznetpoll "github.com/cloudwego/hertz/pkg/network/netpoll"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// echoRoutes answers GET /echo with the address of the client, and POST /echo with the body of the request.
func echoRoutes(h *server.Hertz) {
	h.GET("/echo", func(_ context.Context, c *app.RequestContext) {
		c.String(http.StatusOK, c.GetConn().RemoteAddr().String())
	})
	h.POST("/echo", func(_ context.Context, c *app.RequestContext) {
		c.Data(http.StatusOK, "application/octet-stream", c.Request.Body())
	})
}

// randomBytes returns n random bytes, always the same ones for a seed.
func randomBytes(seed uint64, n int) []byte {
	rng := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed)))
	p := make([]byte, n)
	_, _ = rng.Read(p) // cannot fail
	return p
}

func TestHertzUsesTheLibraryOnBothSides(t *testing.T) {
	kinds := make(chan any, 1)
	s := startHertz(t, "tcp", func(h *server.Hertz) {
		h.GET("/", func(_ context.Context, c *app.RequestContext) { kinds <- c.GetConn() })
	})
	c, d := newHertzClient(t, s)
	_, _, err := roundTrip(c, http.MethodGet, s.url("/"), nil)
	require.NoError(t, err)
	for side, conn := range map[string]any{"server": await(t, kinds, "a request"), "client": d.last.Load()} {
		wrapped, ok := conn.(*hertznetpoll.Conn)
		require.True(t, ok, "%s: %T", side, conn)
		require.Implements(t, (*netpoll.Connection)(nil), wrapped.Conn, side)
	}
}

// Behaviour 1.2: Hertz reads and writes through the methods of the connection itself.
func TestHertzServesBodiesOfEverySize(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := startHertz(t, network, echoRoutes)
		c, _ := newHertzClient(t, s)
		for i, size := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 1 << 20, 3<<20 + 7} {
			body := randomBytes(uint64(i), size)
			code, got, err := roundTrip(c, http.MethodPost, s.url("/echo"), body)
			require.NoError(t, err, "%d bytes", size)
			require.Equal(t, http.StatusOK, code)
			require.True(t, string(body) == got, "%d bytes came back as other %d bytes", size, len(got))
		}
	})
}

// Behaviour 5.4: the handler may block for the connection's whole life; Hertz waits in it for the next request.
func TestHertzKeepsAndReusesAConnection(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := startHertz(t, network, echoRoutes)
		c, d := newHertzClient(t, s)
		clients := make(map[string]int)
		for range 20 {
			code, addr, err := roundTrip(c, http.MethodGet, s.url("/echo"), nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, code)
			clients[addr]++
		}
		require.Len(t, clients, 1, "the requests came from several addresses")
		require.EqualValues(t, 1, d.dials.Load())
		require.EqualValues(t, 1, s.accepted.Load())
	})
}

// Behaviour 3.7: while Hertz waits for the next request, the read timeout closes an idle connection.
func TestHertzClosesAnIdleConnection(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := startHertz(t, network, echoRoutes, server.WithIdleTimeout(20*time.Millisecond))
		conn := rawDial(t, s)
		_, err := io.WriteString(conn, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.False(t, resp.Close)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		_, err = r.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestHertzClosesAConnectionOnRequest(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := startHertz(t, network, echoRoutes)
		c, d := newHertzClient(t, s)
		for range 3 {
			_, _, err := roundTrip(c, http.MethodGet, s.url("/echo"), nil, (*protocol.Request).SetConnectionClose)
			require.NoError(t, err)
		}
		require.EqualValues(t, 3, d.dials.Load())
		require.EqualValues(t, 3, s.accepted.Load())

		// A plain client sees the response, and then the end of the stream.
		conn := rawDial(t, s)
		_, err := io.WriteString(conn, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.True(t, resp.Close)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		_, err = r.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	})
}

// rawDial opens a connection of package net, or of crypto/tls, to s. Its deadline limits all that the test does with it.
func rawDial(t *testing.T, s *hertzServer) net.Conn {
	t.Helper()
	conn, err := net.Dial(s.addr.Network(), s.addr.String())
	require.NoError(t, err)
	if s.layer != nil {
		conn = s.layer.peer(conn)
	}
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// Behaviour 5.4: the handler is called again while input remains.
func TestHertzAnswersPipelinedRequests(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := startHertz(t, network, echoRoutes)
		conn := rawDial(t, s)
		const requests = 10
		var all strings.Builder
		for i := range requests {
			fmt.Fprintf(&all, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n%d", i)
		}
		_, err := io.WriteString(conn, all.String())
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		for i := range requests {
			resp, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), string(body))
		}
	})
}

func TestHertzWaitsForARequestThatTrickles(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := startHertz(t, network, echoRoutes)
		conn := rawDial(t, s)
		for _, b := range []byte("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc") {
			_, err := conn.Write([]byte{b})
			require.NoError(t, err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "abc", string(body))
	})
}

func TestHertzServesManyAtOnce(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := startHertz(t, network, echoRoutes)
		c, _ := newHertzClient(t, s, client.WithMaxConnsPerHost(64))
		const callers, requests = 40, 25
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range requests {
					body := randomBytes(uint64(caller), 1+i*500)
					code, got, err := roundTrip(c, http.MethodPost, s.url("/echo"), body)
					if err != nil || code != http.StatusOK || got != string(body) {
						t.Errorf("caller %d, request %d: %d, %d bytes, %v", caller, i, code, len(got), err)
						return
					}
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, s.accepted.Load(), int32(callers))
	})
}
