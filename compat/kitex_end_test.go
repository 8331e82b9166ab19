package compat

// Kitex over this library: how servers and connections end.

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// Behaviour 6.1, 6.2: Kitex closes the converted listener, waits for its calls and shuts the event loop down. The
// multiplexed transport has a test of its own below.
func TestKitexStopWaitsForARunningCall(t *testing.T) {
	onTransports(t, []transportKind{short, long, longTTHeader}, func(t *testing.T, kind transportKind) {
		s := startKitex(t, "tcp", kind)
		c, _ := newKitexClient(t, s.addr, kind)
		type result struct {
			text string
			err  error
		}
		answer, stopped := make(chan result, 1), make(chan error, 1)
		go func() {
			got, err := call(c, "Hold", "held")
			answer <- result{got, err}
		}()
		await(t, s.held, "the call")
		go func() { stopped <- s.Stop() }()
		requireRefused(t, s.addr)
		require.Empty(t, stopped, "Stop did not wait")
		close(s.release)
		got := await(t, answer, "the answer")
		require.NoError(t, got.err)
		require.Equal(t, "held", got.text)
		require.NoError(t, await(t, stopped, "the end of Stop"))
		require.NoError(t, await(t, s.ran, "the end of Run"))
		require.Error(t, echo(c, "nobody listens"))
	})
}

// Behaviour 7.1: before the multiplexed server stops, it sends a notice and the answer of the call that runs,
// through the queue of the connection, and waits for both. The test itself is the client, because the client of this
// Kitex version panics on the notice and so loses its connection.
func TestKitexMuxStopSendsTheAnswerOfARunningCall(t *testing.T) {
	request := recordRequest(t, mux, "Hold", "held")
	s := startKitex(t, "tcp", mux)
	conn, err := net.Dial("tcp", s.addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write(request)
	require.NoError(t, err)
	await(t, s.held, "the call")

	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop() }()
	notice, err := readTTHeader(conn)
	require.NoError(t, err)
	require.Zero(t, sequence(notice), "a frame before the notice")
	require.Empty(t, stopped, "Stop did not wait")
	close(s.release)
	answer, err := readTTHeader(conn)
	require.NoError(t, err)
	require.Equal(t, sequence(request), sequence(answer))
	require.Contains(t, string(answer), "held")

	// The server now waits until its clients have closed, but no longer than its exit wait time.
	require.NoError(t, conn.Close())
	gone := time.Now()
	require.NoError(t, await(t, stopped, "the end of Stop"))
	require.Less(t, time.Since(gone), patience/2, "Stop waited for something else")
	require.NoError(t, await(t, s.ran, "the end of Run"))
}

// recordRequest returns the frame that a client sends for a call.
func recordRequest(t *testing.T, kind transportKind, method, text string) []byte {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c, _ := newKitexClient(t, ln.Addr(), kind)
	called := make(chan error, 1)
	go func() {
		_, err := call(c, method, text)
		called <- err
	}()
	conn, err := ln.Accept()
	require.NoError(t, err)
	frame, err := readTTHeader(conn)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	begin := time.Now()
	require.Error(t, await(t, called, "the call's end"))
	require.Less(t, time.Since(begin), patience/2, "the call was not told of the connection's end")
	return frame
}

// readTTHeader reads a frame. Its first four bytes are the length of the rest.
func readTTHeader(r io.Reader) ([]byte, error) {
	frame := make([]byte, 4)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// sequence returns the sequence number in a frame's header. An answer has that of its request.
func sequence(frame []byte) uint32 { return binary.BigEndian.Uint32(frame[8:]) }

// Behaviour 5.8: the peer's close makes a pooled connection inactive, so that the client dials a new one.
func TestKitexClientSurvivesARestartOfItsServer(t *testing.T) {
	forEachTransport(t, func(t *testing.T, kind transportKind) {
		s := startKitex(t, "tcp", kind)
		c, d := newKitexClient(t, s.addr, kind)
		require.NoError(t, echo(c, "before"))
		old := d.last.Load().(netpoll.Connection)
		require.NoError(t, s.Stop())
		require.NoError(t, await(t, s.ran, "the end of Run"))
		requireInactive(t, old)

		startKitexOn(t, "tcp", s.addr.String(), kind)
		dials := d.dials.Load()
		require.NoError(t, echo(c, "after"))
		require.Equal(t, dials+1, d.dials.Load())
	})
}

// A client that closes in the middle of a call does not harm the server.
func TestKitexServerSurvivesAClientThatGoesAway(t *testing.T) {
	forEachTransport(t, func(t *testing.T, kind transportKind) {
		s := startKitex(t, "tcp", kind)
		c, d := newKitexClient(t, s.addr, kind)
		failed := make(chan error, 1)
		go func() {
			_, err := call(c, "Hold", "x")
			failed <- err
		}()
		await(t, s.held, "the call")
		require.NoError(t, d.last.Load().(net.Conn).Close())
		require.Error(t, await(t, failed, "the call's end"))
		close(s.release)
		other, _ := newKitexClient(t, s.addr, kind)
		require.NoError(t, echo(other, "another client"))
		require.NoError(t, echo(c, "same client"))
	})
}
