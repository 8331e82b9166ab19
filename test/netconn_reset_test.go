package test

// A reset that a Write of the net.Conn got.

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// resetTold is the error of package net for it.
var resetTold = &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)}

// writingUntil is a connection with a net.Conn that is in Write, until the test gives it a result; its Read returns at
// once, with the end of the stream, when the Write has begun.
func writingUntil(t *testing.T) (conn netpoll.Connection, result chan<- error, written <-chan error) {
	stub := newStub(t)
	begun, results := make(chan struct{}), make(chan error, 1)
	stub.write = func([]byte) (int, error) {
		close(begun)
		return 0, <-results
	}
	stub.read = func([]byte) (int, error) {
		<-begun
		return 0, io.EOF
	}
	conn = wrap(t, stub)
	sent := make(chan error, 1)
	go func() { _, err := conn.Write([]byte("x")); sent <- err }()
	testkit.Receive(t, begun)
	return conn, results, sent
}

// A socket reports a reset once. If a Write got it, Read finds the end of the stream: the reader must not take what it
// has for everything.
func TestResetThatAWriteWasToldOfIsNoOrderlyEnd(t *testing.T) {
	for name, wait := range map[string]func(conn netpoll.Connection) error{
		"Next": func(conn netpoll.Connection) error { _, err := conn.Reader().Next(1); return err },
		"Read": func(conn netpoll.Connection) error { _, err := conn.Read(make([]byte, 1)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			conn, result, written := writingUntil(t)
			read := testkit.Blocked(t, func() error { return wait(conn) })
			result <- resetTold
			require.ErrorIs(t, testkit.Receive(t, written), syscall.ECONNRESET)
			err := testkit.Receive(t, read)
			require.ErrorIs(t, err, syscall.ECONNRESET)
			require.NotErrorIs(t, err, io.EOF)
		})
	}
}

// The end of the stream is reported although a Write blocks for long: the peer may want to see something else first.
func TestEndIsToldThoughAWriteBlocks(t *testing.T) {
	t.Parallel()
	conn, result, written := writingUntil(t)
	_, err := conn.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrEOF)
	result <- resetTold
	require.ErrorIs(t, testkit.Receive(t, written), syscall.ECONNRESET)
	_, err = conn.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrEOF, "it was told in time")
}
