package compat

// Hertz over this library: how connections and servers end.

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.2: OnDisconnect is called while the handler runs, and Hertz cancels the handler's context with it.
func TestHertzSensesThatTheClientIsGone(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		entered, cancelled := make(chan struct{}), make(chan error, 1)
		s := startHertz(t, network, func(h *server.Hertz) {
			h.GET("/", func(ctx context.Context, _ *app.RequestContext) {
				close(entered)
				select {
				case <-ctx.Done():
				case <-time.After(patience):
				}
				cancelled <- ctx.Err()
			})
		}, server.WithSenseClientDisconnection(true))
		conn := rawDial(t, s)
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		await(t, entered, "the request")
		require.NoError(t, conn.Close())
		require.ErrorIs(t, await(t, cancelled, "the handler's end"), context.Canceled)
	})
}

// Behaviour 3.7: the read timeout of a client ends a call, not the server.
func TestHertzClientTimesOut(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		release := make(chan struct{})
		s := startHertz(t, network, func(h *server.Hertz) {
			echoRoutes(h)
			h.GET("/hold", func(context.Context, *app.RequestContext) { <-release })
		})
		t.Cleanup(func() { close(release) }) // runs before the cleanup of the server, which waits for the handler
		c, _ := newHertzClient(t, s, client.WithClientReadTimeout(50*time.Millisecond))
		_, _, err := roundTrip(c, http.MethodGet, s.url("/hold"), nil)
		require.ErrorContains(t, err, "timeout")
		code, _, err := roundTrip(c, http.MethodGet, s.url("/echo"), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code)
	})
}

// Behaviour 6.1: Shutdown frees the port at once, waits for a request that runs, and makes Serve return nil.
func TestHertzShutdownWaitsForARunningRequest(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		entered, release := make(chan struct{}), make(chan struct{})
		s := startHertz(t, network, func(h *server.Hertz) {
			h.GET("/hold", func(_ context.Context, c *app.RequestContext) {
				close(entered)
				<-release
				c.String(http.StatusOK, "served")
			})
		})
		c, _ := newHertzClient(t, s)
		type result struct {
			body string
			err  error
		}
		answer, stopped := make(chan result, 1), make(chan error, 1)
		go func() {
			_, body, err := roundTrip(c, http.MethodGet, s.url("/hold"), nil)
			answer <- result{body, err}
		}()
		await(t, entered, "the request")
		go func() { stopped <- s.Shutdown(context.Background()) }()
		requireRefused(t, s.addr)
		require.Empty(t, stopped, "Shutdown did not wait")
		close(release)
		got := await(t, answer, "the answer")
		require.NoError(t, got.err)
		require.Equal(t, "served", got.body)
		require.NoError(t, await(t, stopped, "the end of Shutdown"))
		require.NoError(t, await(t, s.ran, "the end of Run"))
	})
}

// requireRefused waits until nobody listens on addr.
func requireRefused(t *testing.T, addr net.Addr) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := net.Dial(addr.Network(), addr.String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, patience, time.Millisecond, "the port still accepts")
}

// Behaviour 6.1: a connection on which Hertz waits for the next request is busy. Shutdown still serves one more request
// on it. The port is free for a new server, and the client's next request goes there.
func TestHertzClientSurvivesARestartOfItsServer(t *testing.T) {
	s := startHertz(t, "tcp", echoRoutes)
	c, d := newHertzClient(t, s)
	get := func() {
		t.Helper()
		code, _, err := roundTrip(c, http.MethodGet, s.url("/echo"), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code)
	}
	get()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	requireRefused(t, s.addr)
	get()
	require.EqualValues(t, 1, d.dials.Load(), "the kept connection was not used")
	require.NoError(t, await(t, stopped, "the end of Shutdown"))
	require.NoError(t, await(t, s.ran, "the end of Run"))
	_, _, err := roundTrip(c, http.MethodGet, s.url("/echo"), nil)
	require.Error(t, err, "nobody listens")

	startHertzOn(t, "tcp", s.addr.String(), echoRoutes)
	get()
	require.EqualValues(t, 2, d.dials.Load())
	c.CloseIdleConnections() // the new server shuts down before the client, and would wait for its connections
}
