//go:build linux

package netpoll_test

// Several listeners of one server that run out of descriptors together, and one listener that is served twice.

import (
	"io"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// Behaviour 6.8, 6.1: listeners that find no descriptor at the same time do not keep waking each other.
func TestListenersOutOfDescriptorsTogetherDoNotSpin(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	captureLog(t)
	const waiting = 4
	first := newLifeServer(t, "tcp", echo)
	second := listenOn(t, "tcp")
	served := make(chan error, 1)
	go func() { served <- first.loop.Serve(second) }()
	t.Cleanup(func() {
		first.stop()
		if err := receive(t, served); err != nil {
			t.Errorf("the second Serve: %v", err)
		}
	})
	addrs := []net.Addr{first.ln.Addr(), second.Addr()}
	for _, addr := range addrs {
		requireEcho(t, plainDial(t, addr), "before")
	}
	sockets := unconnected(t, waiting)
	files := exhaust(t)
	for i, fd := range sockets {
		connectTo(t, fd, addrs[i%len(addrs)])
	}
	idles(t)
	files.free(t, len(files))
	for _, fd := range sockets {
		requireHello(t, fd)
	}
}

// Behaviour 6.1: a second Serve of a listener that is being served is refused, by the same loop and by another, and
// leaves the first alone.
func TestSecondServeOfAListenerLeavesTheFirstAlone(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := newLifeServer(t, network, echo)
		established := s.dial()
		require.NoError(t, roundTrip(established, "before"))
		other, err := netpoll.NewEventLoop(echo)
		require.NoError(t, err)
		for _, loop := range []netpoll.EventLoop{s.loop, other} {
			again := make(chan error, 1)
			go func() { again <- loop.Serve(s.ln) }()
			require.Error(t, receive(t, again))
			silent(t, s.served, "the end of the first Serve")
			require.NoError(t, roundTrip(established, "meanwhile"))
			require.NoError(t, roundTrip(s.dial(), "a new connection"))
		}
		shutdown(t, other)
		require.NoError(t, roundTrip(s.dial(), "after the other's shutdown"))
		require.NoError(t, receive(t, shutdownIn(s.loop)))
		_, err = established.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}
