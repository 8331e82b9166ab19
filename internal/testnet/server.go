// Package testnet holds servers and connections of package netpoll, for tests of its public API.
package testnet

// This file holds servers.

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// Listen returns a listener of package netpoll on a fresh address. It is closed when the test ends.
func Listen(t testing.TB, network string) netpoll.Listener {
	t.Helper()
	ln, err := netpoll.CreateListener(network, testkit.LocalAddress(t, network))
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Server is an EventLoop with one Serve under way.
type Server struct {
	Loop     netpoll.EventLoop
	Listener net.Listener
	Served   chan error // the result of Serve

	T testing.TB // the test that the server belongs to
}

// NewServer serves a fresh address until the test ends. The test fails if Serve or Shutdown then returns an error.
// onRequest may be nil.
func NewServer(t testing.TB, network string, onRequest netpoll.OnRequest, opts ...netpoll.Option) *Server {
	t.Helper()
	s := start(t, Listen(t, network), onRequest, opts)
	t.Cleanup(s.Stop)
	return s
}

// ServeOn serves ln until the test ends, or shuts the server down before. The test checks the results of Serve and
// Shutdown itself.
func ServeOn(t testing.TB, ln net.Listener, onRequest netpoll.OnRequest, opts ...netpoll.Option) *Server {
	t.Helper()
	s := start(t, ln, onRequest, opts)
	t.Cleanup(func() { _ = s.Shutdown() })
	return s
}

func start(t testing.TB, ln net.Listener, onRequest netpoll.OnRequest, opts []netpoll.Option) *Server {
	t.Helper()
	s := &Server{Listener: ln, Served: make(chan error, 1), T: t}
	var err error
	s.Loop, err = netpoll.NewEventLoop(onRequest, opts...)
	require.NoError(t, err)
	go func() { s.Served <- s.Loop.Serve(ln) }()
	return s
}

// Shutdown calls Shutdown of the loop, with a timeout.
func (s *Server) Shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	return s.Loop.Shutdown(ctx)
}

// Shutdown shuts loop down, and fails the test if that returns an error or takes too long.
func Shutdown(t testing.TB, loop netpoll.EventLoop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	require.NoError(t, loop.Shutdown(ctx))
}

// Stop shuts the server down, and fails the test if Shutdown or Serve returns an error. The test may have called
// Shutdown before.
func (s *Server) Stop() {
	if err := s.Shutdown(); err != nil {
		s.T.Errorf("Shutdown: %v", err)
	}
	select {
	case err := <-s.Served:
		if err != nil {
			s.T.Errorf("Serve: %v", err)
		}
		s.Served <- nil
	case <-time.After(testkit.Timeout):
		s.T.Errorf("Serve has not returned %v after Shutdown", testkit.Timeout)
	}
}

// Addr returns the address of the server.
func (s *Server) Addr() net.Addr { return s.Listener.Addr() }

// Dial connects a client of package net to the server. It has a deadline, so that the test does not hang when a reply
// is lost.
func (s *Server) Dial() net.Conn {
	s.T.Helper()
	c := testkit.Dial(s.T, s.Addr())
	require.NoError(s.T, c.SetDeadline(time.Now().Add(2*testkit.Timeout)))
	return c
}

// Echo is an OnRequest that sends its input back.
func Echo(_ context.Context, conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	p, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err = w.WriteBinary(p); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	return r.Release()
}

// Discard is an OnRequest that drops its input.
func Discard(_ context.Context, conn netpoll.Connection) error {
	if err := conn.Reader().Skip(conn.Reader().Len()); err != nil {
		return err
	}
	return conn.Reader().Release()
}

// Poison makes the library fill released memory with a pattern until the test ends. The test fails if released memory is
// used.
func Poison(t testing.TB) {
	t.Helper()
	netpoll.SetMemoryDebug(func(err error) { t.Error(err) })
	t.Cleanup(func() { netpoll.SetMemoryDebug(nil) })
}
