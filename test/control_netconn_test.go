//go:build linux && netconn

package test

// Messages with control data where package net has the sockets: they are sent, and are not received.

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

func TestMessagesOverNetConn(t *testing.T) {
	conn, plain := testnet.Dialed(t, "unix")
	u, peer := conn.(*netpoll.UnixConnection), plain.(*net.UnixConn)
	_, err := u.Writer().WriteString("queued")
	require.NoError(t, err)
	n, oobn, err := u.WriteMsgUnix([]byte("with"), unix.UnixRights(0), nil)
	require.NoError(t, err)
	require.Equal(t, []int{4, unix.CmsgSpace(4)}, []int{n, oobn})
	require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	b, oob := make([]byte, 6), make([]byte, 100)
	n, oobn, _, _, err = peer.ReadMsgUnix(b, oob)
	require.NoError(t, err)
	require.Equal(t, "queued", string(b[:n]))
	require.Zero(t, oobn)
	n, oobn, _, _, err = peer.ReadMsgUnix(b, oob)
	require.NoError(t, err)
	require.Equal(t, "with", string(b[:n]))
	list, err := unix.ParseSocketControlMessage(oob[:oobn])
	require.NoError(t, err)
	fds, err := unix.ParseUnixRights(&list[0])
	require.NoError(t, err)
	require.NoError(t, unix.Close(fds[0]))

	testkit.Send(t, peer, "plain")
	_, _, _, _, err = u.ReadMsgUnix(make([]byte, 5), oob)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorIs(t, u.KeepDescriptors(true), netpoll.ErrUnsupported)
	require.NoError(t, u.KeepDescriptors(false))
	require.NoError(t, u.SetReadTimeout(testkit.Timeout))
	n, _, err = u.ReadFrom(b)
	require.NoError(t, err)
	require.Equal(t, "plain", string(b[:n]))
	_, err = u.WriteTo(b, &net.UnixAddr{Name: "/x", Net: "unix"})
	require.ErrorIs(t, err, net.ErrWriteToConnected)

	require.NoError(t, u.SetWriteTimeout(testkit.Short))
	for err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		_, _, err = u.WriteMsgUnix(make([]byte, 1<<16), nil, nil)
	}
	require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
}
