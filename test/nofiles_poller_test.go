//go:build linux && !netconn

package test

// Pollers that cannot be started without descriptors.

import (
	"io"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 6.8: a server that cannot open its first poller says so, and a later Serve works.
func TestServeSurvivesRunningOutOfDescriptors(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	files := exhaust(t)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	require.ErrorIs(t, testkit.Receive(t, served), syscall.EMFILE)
	files.free(t, len(files))
	require.NoError(t, testkit.RoundTrip(testnet.NewServer(t, "tcp", testnet.Echo).Dial(), "hello"))
	ln.Close()
}

// Behaviour 5.13: NewFDConnection without a descriptor for its poller is an error, and later ones work.
func TestFDConnectionSurvivesRunningOutOfDescriptors(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	r, w := netpoll.GetSysFdPairs()
	socket, err := socketID(r)
	require.NoError(t, err)
	files := exhaust(t)
	conn, err := netpoll.NewFDConnection(r)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.True(t, conn == nil, "a failed NewFDConnection returned %#v", conn)
	files.free(t, len(files))
	if id, err := socketID(r); err == nil && id == socket {
		require.NoError(t, closeFd(r))
	}
	require.NoError(t, closeFd(w))
	a, b := fdPair(t)
	_, err = a.Write([]byte("hi"))
	require.NoError(t, err)
	p, err := b.Reader().Next(2)
	require.NoError(t, err)
	require.Equal(t, "hi", string(p))
}

// Behaviour 5.13: a NewConnection that fails, because there is a descriptor for its duplicate and none for a poller,
// leaves its caller's connection alone.
func TestNewConnectionThatFailsLeavesTheOriginalToItsCaller(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	ln := testkit.Listen(t, "tcp")
	original := testkit.Dial(t, ln.Addr())
	peer, err := ln.Accept()
	require.NoError(t, err)
	defer peer.Close()
	files := exhaust(t)
	files = files.free(t, 1)
	before := len(openFiles())
	conn, err := netpoll.NewConnection(original)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.True(t, conn == nil, "a failed NewConnection returned %#v", conn)
	require.Len(t, openFiles(), before)
	files.free(t, len(files))
	_, err = original.Write([]byte("hi"))
	require.NoError(t, err)
	got := make([]byte, 2)
	_, err = io.ReadFull(peer, got)
	require.NoError(t, err)
	require.Equal(t, "hi", string(got))
}

// Behaviour 6.1: Serve owns its listener, and closes it also if there is no descriptor to watch it with.
func TestServeThatCannotConvertClosesItsListener(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	ln := testkit.Listen(t, "tcp")
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	files := exhaust(t)
	require.ErrorIs(t, loop.Serve(ln), syscall.EMFILE)
	files.free(t, len(files))
	requireRefused(t, ln.Addr())
}
