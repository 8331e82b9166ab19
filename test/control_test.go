//go:build linux && !netconn

package test

// Descriptors that are handed over between Unix connections: they arrive with the bytes they were sent with, as with
// package net, and none is ever left open.

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// descriptorPath is where the descriptors of this process are listed.
const descriptorPath = "/proc/self/fd"

// handedOver is in the names of the files that these tests hand over.
const handedOver = "handed-over"

// descriptorsListed counts those of this process that are such files: sockets and pipes may go at any time, with what
// earlier tests have left to the garbage collector.
func descriptorsListed(t testing.TB) (n int) {
	t.Helper()
	list, err := os.ReadDir(descriptorPath)
	require.NoError(t, err)
	for _, entry := range list {
		what, err := os.Readlink(filepath.Join(descriptorPath, entry.Name()))
		if err == nil && strings.Contains(what, handedOver) {
			n++
		}
	}
	return n
}

// overUnixConnections runs a test with Unix connections of every kind that is not served by an EventLoop.
func overUnixConnections(t *testing.T, f func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn)) {
	for name, connect := range map[string]func(t *testing.T) (netpoll.Connection, net.Conn){
		"dialed": func(t *testing.T) (netpoll.Connection, net.Conn) { return testnet.Dialed(t, "unix") },
		"accepted": func(t *testing.T) (netpoll.Connection, net.Conn) {
			ln := testnet.Listen(t, "unix")
			peer := testkit.Dial(t, ln.Addr())
			conn, err := ln.Accept()
			require.NoError(t, err)
			return conn.(netpoll.Connection), peer
		},
		"taken over": func(t *testing.T) (netpoll.Connection, net.Conn) {
			plain, peer := plainPair(t)
			conn, err := netpoll.NewConnection(plain)
			require.NoError(t, err)
			return conn, peer
		},
		"of a descriptor": func(t *testing.T) (netpoll.Connection, net.Conn) {
			fd, other := netpoll.GetSysFdPairs()
			conn, err := netpoll.NewFDConnection(fd)
			require.NoError(t, err)
			file := os.NewFile(uintptr(other), "peer")
			defer file.Close()
			peer, err := net.FileConn(file)
			require.NoError(t, err)
			return conn, peer
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := connect(t)
			defer conn.Close()
			defer peer.Close()
			require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
			require.NoError(t, peer.SetDeadline(time.Now().Add(testkit.Timeout)))
			f(t, conn.(*netpoll.UnixConnection), peer.(*net.UnixConn))
		})
	}
}

// plainPair is two connected connections of package net.
func plainPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer ln.Close()
	a = testkit.Dial(t, ln.Addr()).(*net.UnixConn)
	accepted, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return a, accepted.(*net.UnixConn)
}

// messenger is the interface of a *net.UnixConn and of a *netpoll.UnixConnection.
type messenger interface {
	net.Conn
	ReadFrom(b []byte) (int, net.Addr, error)
	ReadFromUnix(b []byte) (int, *net.UnixAddr, error)
	ReadMsgUnix(b, oob []byte) (n, oobn, flags int, addr *net.UnixAddr, err error)
	WriteMsgUnix(b, oob []byte, addr *net.UnixAddr) (n, oobn int, err error)
	WriteTo(b []byte, addr net.Addr) (int, error)
	WriteToUnix(b []byte, addr *net.UnixAddr) (int, error)
}

var (
	_ messenger = (*net.UnixConn)(nil)
	_ messenger = (*netpoll.UnixConnection)(nil)
)

// handOver sends p with n descriptors, each of a file of its own, and returns what the files are.
func handOver(t *testing.T, peer messenger, p string, n int) (ids []uint64) {
	t.Helper()
	var fds []int
	for range n {
		file, err := os.CreateTemp(t.TempDir(), handedOver)
		require.NoError(t, err)
		defer file.Close()
		fds = append(fds, int(file.Fd()))
		id, err := socketID(int(file.Fd()))
		require.NoError(t, err)
		ids = append(ids, id)
	}
	sent, oobn, err := peer.WriteMsgUnix([]byte(p), unix.UnixRights(fds...), nil)
	require.NoError(t, err)
	require.Equal(t, len(p), sent)
	require.Equal(t, unix.CmsgSpace(4*n), oobn)
	return ids
}

// takeOver reads a message and closes the descriptors in it, after it has found out what they are.
func takeOver(t *testing.T, conn messenger, b, oob []byte) (text string, ids []uint64, flags int) {
	t.Helper()
	n, oobn, flags, _, err := conn.ReadMsgUnix(b, oob)
	require.NoError(t, err)
	list, err := unix.ParseSocketControlMessage(oob[:oobn])
	require.NoError(t, err)
	for i := range list {
		fds, err := unix.ParseUnixRights(&list[i])
		require.NoError(t, err)
		for _, fd := range fds {
			requireCloseOnExec(t, fd)
			id, err := socketID(fd)
			require.NoError(t, err)
			ids = append(ids, id)
			require.NoError(t, unix.Close(fd))
		}
	}
	return string(b[:n]), ids, flags
}

// Behaviour 9.8: descriptors that were sent come with the bytes they were sent with, whenever those are read, and in
// whatever pieces.
func TestDescriptorsComeWithTheirBytes(t *testing.T) {
	overUnixConnections(t, func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn) {
		before := descriptorsListed(t)
		for _, n := range []int{1, 3, 253} {
			testkit.Send(t, peer, "before")
			ids := handOver(t, peer, "with", n)
			testkit.Send(t, peer, "behind")
			testnet.Buffered(t, conn, len("beforewithbehind"))

			got, err := conn.Reader().ReadString(2) // any method reads earlier bytes
			require.NoError(t, err)
			require.Equal(t, "be", got)
			text, none, _ := takeOver(t, conn, make([]byte, 4), make([]byte, 4096))
			require.Equal(t, "fore", text)
			require.Empty(t, none)
			text, got253, flags := takeOver(t, conn, make([]byte, 100), make([]byte, 4096))
			require.Equal(t, "with", text, "bytes from behind the message")
			require.Equal(t, ids, got253)
			require.Zero(t, flags&unix.MSG_CTRUNC)
			text, none, _ = takeOver(t, conn, make([]byte, 100), make([]byte, 4096))
			require.Equal(t, "behind", text)
			require.Empty(t, none)
		}
		require.Equal(t, before, descriptorsListed(t))
	})
}

// Behaviour 9.8: what is sent is received by package net, and behind all that was written before.
func TestWriteMsgUnixSendsBehindWhatIsQueued(t *testing.T) {
	overUnixConnections(t, func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn) {
		before := descriptorsListed(t)
		_, err := conn.Writer().WriteString("queued")
		require.NoError(t, err)
		ids := handOver(t, conn, "with", 2)
		_, err = io.ReadFull(peer, make([]byte, len("queued")))
		require.NoError(t, err)
		text, got, _ := takeOver(t, peer, make([]byte, 100), make([]byte, 100))
		require.Equal(t, "with", text)
		require.Equal(t, ids, got)
		require.Equal(t, before, descriptorsListed(t))
	})
}

// Behaviour 9.8: limited: one message's descriptors are held, and others wait in the kernel; none is lost.
func TestDescriptorsOfOneMessageAreHeld(t *testing.T) {
	overUnixConnections(t, func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn) {
		const messages = 20
		before := descriptorsListed(t)
		var ids [][]uint64
		for i := range messages {
			ids = append(ids, handOver(t, peer, fmt.Sprint(i%10), 2))
		}
		testkit.Eventually(t, func() bool { return descriptorsListed(t) > before })
		time.Sleep(testkit.Calm)
		require.LessOrEqual(t, descriptorsListed(t), before+2)
		for i := range messages {
			text, got, _ := takeOver(t, conn, make([]byte, 100), make([]byte, 100))
			require.Equal(t, fmt.Sprint(i%10), text)
			require.Equal(t, ids[i], got)
		}
		require.Equal(t, before, descriptorsListed(t))
	})
}

// Behaviour 9.8: descriptors whose bytes another method consumes are closed, and so are those that no call takes.
func TestDescriptorsThatNobodyTakesAreClosed(t *testing.T) {
	for name, consume := range map[string]func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn){
		"Read": func(t *testing.T, conn *netpoll.UnixConnection, _ *net.UnixConn) {
			_, err := conn.Read(make([]byte, 1))
			require.NoError(t, err)
		},
		"ReadFrom": func(t *testing.T, conn *netpoll.UnixConnection, _ *net.UnixConn) {
			_, _, err := conn.ReadFrom(make([]byte, 1))
			require.NoError(t, err)
		},
		"ReadMsgUnix without room": func(t *testing.T, conn *netpoll.UnixConnection, _ *net.UnixConn) {
			_, oobn, flags, _, err := conn.ReadMsgUnix(make([]byte, 1), nil)
			require.NoError(t, err)
			require.Zero(t, oobn)
			require.NotZero(t, flags&unix.MSG_CTRUNC)
		},
		"ReadMsgUnix with little room": func(t *testing.T, conn *netpoll.UnixConnection, _ *net.UnixConn) {
			text, ids, flags := takeOver(t, conn, make([]byte, 10), make([]byte, unix.CmsgSpace(4)))
			require.Equal(t, "abc", text)
			require.Len(t, ids, 2) // as the kernel does: padding has room for another one
			require.NotZero(t, flags&unix.MSG_CTRUNC)
		},
		"Skip": func(t *testing.T, conn *netpoll.UnixConnection, _ *net.UnixConn) {
			require.NoError(t, conn.Reader().Skip(2))
		},
		"Next beyond what can be held": func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn) {
			handOver(t, peer, "def", 3)
			handOver(t, peer, "ghi", 3)
			p, err := conn.Reader().Next(9)
			require.NoError(t, err)
			require.Equal(t, "abcdefghi", string(p))
		},
		"Close": func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn) {
			require.NoError(t, peer.Close())
			require.NoError(t, conn.Close())
			n, _, flags, _, err := conn.ReadMsgUnix(make([]byte, 10), make([]byte, 100))
			require.NoError(t, err, "what is buffered can be read after Close")
			require.Equal(t, 3, n)
			require.NotZero(t, flags&unix.MSG_CTRUNC)
		},
		"CloseRead, of what comes then": func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn) {
			require.NoError(t, conn.CloseRead())
			handOver(t, peer, "def", 3)
			require.NoError(t, conn.Reader().Skip(3))
		},
		"Detach": func(t *testing.T, conn *netpoll.UnixConnection, _ *net.UnixConn) {
			fd := conn.Fd()
			require.NoError(t, conn.Detach())
			require.NoError(t, closeFd(fd))
		},
	} {
		t.Run(name, func(t *testing.T) {
			overUnixConnections(t, func(t *testing.T, conn *netpoll.UnixConnection, peer *net.UnixConn) {
				before := descriptorsListed(t)
				handOver(t, peer, "abc", 3)
				testnet.Buffered(t, conn, 3)
				consume(t, conn, peer)
				testkit.Eventually(t, func() bool { return descriptorsListed(t) == before })
			})
		})
	}
}

// Behaviour 9.7: a function of RawConn.Read would not see descriptors that are held.
func TestRawReadIsRefusedBesideHeldDescriptors(t *testing.T) {
	conn, peer := testnet.Dialed(t, "unix")
	ids := handOver(t, peer.(*net.UnixConn), "x", 1)
	testnet.Buffered(t, conn, 1)
	require.ErrorIs(t, alive(conn), netpoll.ErrBufferedInput)
	_, got, _ := takeOver(t, conn.(*netpoll.UnixConnection), make([]byte, 1), make([]byte, 100))
	require.Equal(t, ids, got)
	require.NoError(t, alive(conn))
}

// Behaviour 9.1: an end behind descriptors that a handler has not read yet costs no processor time until it reads them,
// and then all of the input is seen before the connection is inactive.
func TestEndBehindHeldDescriptorsWaitsForTheHandler(t *testing.T) {
	conn, peer := testnet.Dialed(t, "unix")
	called, read, ended := make(chan struct{}, 8), make(chan struct{}), make(chan string, 1)
	seen := ""
	require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
		called <- struct{}{}
		<-read
		active := conn.IsActive()
		s, err := conn.Reader().ReadString(conn.Reader().Len())
		seen += s
		if !active {
			ended <- seen
		}
		return err
	}))
	require.NoError(t, conn.(interface{ SetAllowHalfOpen(bool) error }).SetAllowHalfOpen(true))
	handOver(t, peer.(*net.UnixConn), "abc", 1)
	testkit.Receive(t, called)
	handOver(t, peer.(*net.UnixConn), "def", 1)
	require.NoError(t, peer.Close())
	testkit.Idles(t)
	require.True(t, conn.IsActive(), "there is more to read")
	close(read)
	require.Equal(t, "abcdef", testkit.Receive(t, ended))
}

// A handler that returns because it wants to see more sees more, although that comes with descriptors too.
func TestHandlerThatWaitsForMoreIsNotStuckBehindDescriptors(t *testing.T) {
	conn, peer := testnet.Dialed(t, "unix")
	before := descriptorsListed(t)
	seen := make(chan string, 1)
	require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
		if conn.Reader().Len() < 6 {
			return nil
		}
		text, err := conn.Reader().ReadString(6)
		seen <- text
		return err
	}))
	handOver(t, peer.(*net.UnixConn), "abc", 1)
	testnet.Buffered(t, conn, 3)
	testkit.Idles(t)
	handOver(t, peer.(*net.UnixConn), "def", 1)
	require.Equal(t, "abcdef", testkit.Receive(t, seen))
	testkit.Eventually(t, func() bool { return descriptorsListed(t) == before })
}

// Behaviour 9.8: connections of an EventLoop keep descriptors only if the program asks for it.
func TestServedConnectionsKeepDescriptorsIfAsked(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			conn, peer := testnet.Served(t, "unix", nil, netpoll.WithReadTimeout(testkit.Timeout),
				netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
					if keep {
						if err := conn.(*netpoll.UnixConnection).KeepDescriptors(true); err != nil {
							t.Error(err)
						}
					}
					return nil
				}))
			before := descriptorsListed(t)
			ids := handOver(t, peer.(*net.UnixConn), "abc", 3)
			text, got, _ := takeOver(t, conn.(*netpoll.UnixConnection), make([]byte, 10), make([]byte, 100))
			require.Equal(t, "abc", text)
			if keep {
				require.Equal(t, ids, got)
			} else {
				require.Empty(t, got)
			}
			require.Equal(t, before, descriptorsListed(t))
		})
	}
}

// Behaviour 9.8: programs that ask for credentials get them with every message.
func TestCredentialsComeWithDescriptors(t *testing.T) {
	conn, peer := testnet.Dialed(t, "unix")
	before := descriptorsListed(t)
	require.NoError(t, unix.SetsockoptInt(conn.(netpoll.Conn).Fd(), unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
	for _, n := range []int{0, 253} {
		if n == 0 {
			testkit.Send(t, peer, "abc")
		} else {
			handOver(t, peer.(*net.UnixConn), "abc", n)
		}
		oob := make([]byte, 4096)
		read, oobn, flags, _, err := conn.(*netpoll.UnixConnection).ReadMsgUnix(make([]byte, 10), oob)
		require.NoError(t, err)
		require.Equal(t, 3, read)
		require.Zero(t, flags&unix.MSG_CTRUNC)
		list, err := unix.ParseSocketControlMessage(oob[:oobn])
		require.NoError(t, err)
		cred, err := unix.ParseUnixCredentials(&list[0])
		require.NoError(t, err)
		require.Equal(t, os.Getpid(), int(cred.Pid))
		if n > 0 {
			fds, err := unix.ParseUnixRights(&list[1])
			require.NoError(t, err)
			require.Len(t, fds, n)
			for _, fd := range fds {
				require.NoError(t, unix.Close(fd))
			}
		}
	}
	require.Equal(t, before, descriptorsListed(t))
}

// Behaviour 9.8: WriteMsgUnix waits for room as Write does, within the same time.
func TestWriteMsgUnixWaitsForRoom(t *testing.T) {
	t.Parallel()
	conn, peer := testnet.Dialed(t, "unix")
	u := conn.(*netpoll.UnixConnection)
	require.NoError(t, fill(conn))
	_, _, err := u.WriteMsgUnix([]byte("x"), nil, nil)
	require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetWriteTimeout(0))
	done := testkit.Blocked(t, func() error {
		_, _, err := u.WriteMsgUnix([]byte("x"), nil, nil)
		return err
	})
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	require.NoError(t, testkit.Receive(t, done))

	conn, _ = testnet.Dialed(t, "unix")
	require.NoError(t, fill(conn))
	require.NoError(t, conn.SetWriteTimeout(0))
	done = testkit.Blocked(t, func() error {
		_, _, err := conn.(*netpoll.UnixConnection).WriteMsgUnix([]byte("x"), nil, nil)
		return err
	})
	require.NoError(t, conn.Close())
	require.ErrorIs(t, testkit.Receive(t, done), net.ErrClosed)
}

// Behaviour 4.5, 9.8: messages and what others write at the same time do not mix, and each descriptor comes with its
// message.
func TestMessagesOfManyWritersStayWhole(t *testing.T) {
	client, server := testnet.Pair(t, "unix")
	before := descriptorsListed(t)
	file, err := os.CreateTemp(t.TempDir(), handedOver)
	require.NoError(t, err)
	const each = 200
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range each {
				_, err := client.Write([]byte("plain..."))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for range each {
			n, _, err := client.(*netpoll.UnixConnection).WriteMsgUnix([]byte("message."), unix.UnixRights(int(file.Fd())), nil)
			if err != nil || n != 8 {
				t.Error(n, err)
				return
			}
		}
	})
	require.NoError(t, server.SetReadTimeout(testkit.Timeout))
	messages := 0
	for range 3 * each {
		text, ids, _ := takeOver(t, server.(*netpoll.UnixConnection), make([]byte, 8), make([]byte, 100))
		switch text {
		case "plain...":
			require.Empty(t, ids)
		case "message.":
			require.Len(t, ids, 1)
			messages++
		default:
			t.Fatalf("mixed: %q", text)
		}
	}
	require.Equal(t, each, messages)
	wg.Wait()
	require.NoError(t, file.Close())
	require.Equal(t, before, descriptorsListed(t))
}
