//go:build linux

package test

// Several listeners of one server that run out of descriptors together, and one listener that is served twice.

import (
	"io"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 6.8, 6.1: listeners that find no descriptor at the same time do not keep waking each other.
func TestListenersOutOfDescriptorsTogetherDoNotSpin(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	const waiting = 4
	first := testnet.NewServer(t, "tcp", testnet.Echo)
	second := testnet.Listen(t, "tcp")
	served := make(chan error, 1)
	go func() { served <- first.Loop.Serve(second) }()
	t.Cleanup(func() {
		first.Stop()
		if err := testkit.Receive(t, served); err != nil {
			t.Errorf("the second Serve: %v", err)
		}
	})
	addrs := []net.Addr{first.Listener.Addr(), second.Addr()}
	for _, addr := range addrs {
		testkit.ExpectEcho(t, testkit.Dial(t, addr), "before")
	}
	sockets := unconnected(t, waiting)
	files := exhaust(t)
	for i, fd := range sockets {
		connectTo(t, fd, addrs[i%len(addrs)])
	}
	testkit.Idles(t)
	files.free(t, len(files))
	for _, fd := range sockets {
		requireHello(t, fd)
	}
}

// Behaviour 6.1: a second Serve of a listener that is being served is refused, by the same loop and by another, and
// leaves the first alone.
func TestSecondServeOfAListenerLeavesTheFirstAlone(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		s := testnet.NewServer(t, network, testnet.Echo)
		established := s.Dial()
		require.NoError(t, testkit.RoundTrip(established, "before"))
		other, err := netpoll.NewEventLoop(testnet.Echo)
		require.NoError(t, err)
		for _, loop := range []netpoll.EventLoop{s.Loop, other} {
			again := make(chan error, 1)
			go func() { again <- loop.Serve(s.Listener) }()
			require.Error(t, testkit.Receive(t, again))
			testkit.Silent(t, testkit.Calm, s.Served, "the end of the first Serve")
			require.NoError(t, testkit.RoundTrip(established, "meanwhile"))
			require.NoError(t, testkit.RoundTrip(s.Dial(), "a new connection"))
		}
		testnet.Shutdown(t, other)
		require.NoError(t, testkit.RoundTrip(s.Dial(), "after the other's shutdown"))
		require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
		_, err = established.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}
