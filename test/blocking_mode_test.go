//go:build linux && !netconn

package test

// A descriptor whose mode the program has changed.

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// madeBlocking returns a connection whose descriptor the test has made blocking, with a write timeout, and its peer.
func madeBlocking(t *testing.T) (conn netpoll.Connection, peer int) {
	t.Helper()
	fd, peer := netpoll.GetSysFdPairs()
	t.Cleanup(func() { unix.Close(peer) })
	conn, err := netpoll.NewFDConnection(fd)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, unix.SetNonblock(fd, false))
	require.NoError(t, conn.SetWriteTimeout(testkit.Short))
	return conn, peer
}

// The mode of a descriptor is shared with all its duplicates, also in child processes. A process that makes it blocking
// must not stop this process.
func TestSocketMadeBlockingByAnotherStopsNothing(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		conn, peer := madeBlocking(t)
		var err error
		for err == nil {
			_, err = conn.Write(make([]byte, 1024))
		}
		require.ErrorIs(t, err, netpoll.ErrWriteTimeout)

		_, err = unix.Write(peer, testkit.Pattern(4096)) // fills the first receive, so that a second one finds nothing
		require.NoError(t, err)
		testnet.Buffered(t, conn, 4096)
		_, err = unix.Write(peer, []byte("x"))
		require.NoError(t, err)
		testnet.Buffered(t, conn, 4097)
	})
}

// The same for output in several pieces, which goes out by another call.
func TestGatheredOutputOnABlockingSocketDoesNotWait(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		conn, _ := madeBlocking(t)
		var err error
		for err == nil {
			for range 4 { // too long to be copied together
				_, err = conn.Writer().WriteBinary(make([]byte, 100_000))
				require.NoError(t, err)
			}
			err = conn.Writer().Flush()
		}
		require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
	})
}

// A program that is given the listening socket, as for a restart, makes it blocking: package os does so for a file of
// package net. The poller must not wait in an accept, new connections are served on, and Shutdown ends in time.
func TestListenerMadeBlockingByAnotherStopsNothing(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		require.NoError(t, netpoll.Configure(netpoll.Config{PollerNum: 1}))
		ln := testkit.Listen(t, "tcp")
		r := testnet.ServeOn(t, ln, testnet.Echo)
		old := testkit.Dial(t, ln.Addr())
		testkit.ExpectEcho(t, old, "before")
		f, err := ln.(*net.TCPListener).File()
		require.NoError(t, err)
		defer f.Close()
		program := exec.Command("true")
		program.ExtraFiles = []*os.File{f}
		require.NoError(t, program.Run())
		testkit.ExpectEcho(t, testkit.Dial(t, ln.Addr()), "a new connection")
		testkit.ExpectEcho(t, old, "after")
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
		defer cancel()
		testkit.Within(t, testkit.Timeout+5*time.Second, func() { require.NoError(t, r.Loop.Shutdown(ctx)) })
	})
}
