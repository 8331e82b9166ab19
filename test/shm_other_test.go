//go:build !linux || netconn || kqsim

package test

// Systems without shared memory.

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestSharedMemoryIsRefusedOrTheSocket(t *testing.T) {
	_, err := netpoll.CreateListener("shm", testkit.LocalAddress(t, "unix"))
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	_, err = netpoll.DialConnection("shm", testkit.LocalAddress(t, "unix"), testkit.Timeout)
	require.ErrorIs(t, err, netpoll.ErrUnsupported)

	config := netpoll.ShmConfig{Fallback: true}
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: testkit.LocalAddress(t, "unix"), Net: "unix"})
	require.NoError(t, err)
	ln, err := netpoll.NewShmListener(inner, config)
	require.NoError(t, err)
	defer ln.Close()
	client, err := (&netpoll.ShmDialer{Config: config}).DialConnection("shm", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	defer client.Close()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()
	require.NoError(t, testkit.ErrorOf(client.Write([]byte("hello"))))
	_, err = io.ReadFull(server, make([]byte, 5))
	require.NoError(t, err)
}
