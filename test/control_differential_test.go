//go:build linux && !netconn

package test

// Messages with descriptors beside those of package net: programs of random calls do the same on both.

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// outcome is what a call has returned; all of it must be the same as with package net.
type outcome struct {
	text           string
	n, oobn, flags int
	addr           string
	err            string
}

// Behaviour 9.8: the methods of *net.UnixConn for messages do what they do there.
func TestMessageMethodsDoWhatThoseOfNetDo(t *testing.T) {
	for name, play := range map[string]func(conn, peer messenger, wait func(n int)) []outcome{
		"merged pieces": func(conn, peer messenger, wait func(n int)) []outcome {
			mustWrite(peer, "abc", 0)
			mustWrite(peer, "def", 0)
			mustWrite(peer, "ghi", 1)
			mustWrite(peer, "jkl", 0)
			wait(12)
			return []outcome{readMsg(conn, 100, 100), readMsg(conn, 100, 100)}
		},
		"byte by byte": func(conn, peer messenger, wait func(n int)) (list []outcome) {
			mustWrite(peer, "ab", 0)
			mustWrite(peer, "cd", 1)
			mustWrite(peer, "ef", 0)
			wait(6)
			for range 6 {
				list = append(list, readMsg(conn, 1, 100))
			}
			return list
		},
		"too little room": func(conn, peer messenger, wait func(n int)) (list []outcome) {
			for _, room := range []int{0, 1, 15, 16, 19, 20, 23, 24, 27, 28, 32} {
				mustWrite(peer, "x", 3)
				wait(1)
				list = append(list, readMsg(conn, 10, room))
			}
			return list
		},
		"no bytes": func(conn, peer messenger, wait func(n int)) []outcome {
			mustWrite(peer, "abc", 0) // with descriptors the kernel loses those of package net
			wait(3)
			return []outcome{readMsg(conn, 0, 0), readMsg(conn, 0, 100), readFrom(conn, 0), readFrom(conn, 10)}
		},
		"ReadFrom past descriptors": func(conn, peer messenger, wait func(n int)) []outcome {
			mustWrite(peer, "abc", 1)
			wait(3)
			return []outcome{readFrom(conn, 2), readMsg(conn, 100, 100)}
		},
		"the end": func(conn, peer messenger, wait func(n int)) []outcome {
			mustWrite(peer, "abc", 1)
			_ = peer.Close()
			wait(3)
			return []outcome{readMsg(conn, 100, 100), readMsg(conn, 100, 100), readFrom(conn, 10)}
		},
		"closed": func(conn, peer messenger, _ func(n int)) []outcome {
			_ = conn.Close()
			n, oobn, err := conn.WriteMsgUnix([]byte("x"), nil, nil)
			return []outcome{readMsg(conn, 1, 1), readFrom(conn, 1), {n: n, oobn: oobn, err: kind(err)}}
		},
		"past deadline": func(conn, peer messenger, wait func(n int)) []outcome {
			mustWrite(peer, "abc", 1)
			wait(3)
			_ = conn.SetDeadline(time.Unix(1, 0))
			n, oobn, err := conn.WriteMsgUnix([]byte("x"), nil, nil)
			return []outcome{readMsg(conn, 1, 1), readFrom(conn, 1), {n: n, oobn: oobn, err: kind(err)}}
		},
		"addresses": func(conn, peer messenger, _ func(n int)) (list []outcome) {
			for _, addr := range []net.Addr{
				nil, &net.TCPAddr{}, &net.UnixAddr{Name: "/x", Net: "unix"}, &net.UnixAddr{Name: "/x", Net: "unixgram"},
			} {
				n, err := conn.WriteTo([]byte("x"), addr)
				list = append(list, outcome{n: n, err: kind(err)})
				if u, ok := addr.(*net.UnixAddr); ok {
					n, err = conn.WriteToUnix([]byte("x"), u)
					list = append(list, outcome{n: n, err: kind(err)})
					n, oobn, err := conn.WriteMsgUnix([]byte("x"), nil, u)
					list = append(list, outcome{n: n, oobn: oobn, err: kind(err)})
				}
			}
			return list
		},
		"sending": func(conn, peer messenger, wait func(n int)) (list []outcome) {
			for _, m := range []struct{ b, oob []byte }{
				{nil, nil}, {nil, unix.UnixRights(0)}, {[]byte("x"), nil}, {[]byte("xy"), unix.UnixRights(0, 1)},
				{[]byte("x"), []byte{1, 2, 3}}, {[]byte("x"), make([]byte, 32)}, {[]byte("x"), unix.UnixRights(1 << 20)},
			} {
				n, oobn, err := conn.WriteMsgUnix(m.b, m.oob, nil)
				list = append(list, outcome{n: n, oobn: oobn, err: kind(err)})
			}
			return list
		},
		"sending to nobody": func(conn, peer messenger, _ func(n int)) []outcome {
			_ = peer.Close()
			n, oobn, err := conn.WriteMsgUnix([]byte("x"), nil, nil)
			return []outcome{{n: n, oobn: oobn, err: kind(err)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := descriptorsListed(t)
			plain, peer := plainPair(t)
			want := play(plain, peer, func(int) {})
			conn, rawPeer := testnet.Dialed(t, "unix")
			got := play(conn.(*netpoll.UnixConnection), rawPeer.(*net.UnixConn), func(n int) { testnet.Buffered(t, conn, n) })
			require.Equal(t, want, got)
			for _, c := range []io.Closer{plain, peer, conn, rawPeer} {
				_ = c.Close()
			}
			testkit.Eventually(t, func() bool { return descriptorsListed(t) == before })
		})
	}
}

func mustWrite(peer messenger, p string, descriptors int) {
	var oob []byte
	if descriptors > 0 {
		file, err := os.CreateTemp("", handedOver)
		if err != nil {
			panic(err)
		}
		defer os.Remove(file.Name())
		defer file.Close()
		oob = unix.UnixRights(slices.Repeat([]int{int(file.Fd())}, descriptors)...)
	}
	if _, _, err := peer.WriteMsgUnix([]byte(p), oob, nil); err != nil {
		panic(err)
	}
}

func readMsg(conn messenger, room, oobRoom int) outcome {
	b, oob := make([]byte, room+1), make([]byte, oobRoom) // b has a byte more for the one that is read and lost
	n, oobn, flags, addr, err := conn.ReadMsgUnix(b[:room], oob)
	o := outcome{n: n, oobn: oobn, flags: flags, err: kind(err)}
	if room > 0 {
		o.text = string(b[:n])
	}
	if addr != nil {
		o.addr = addr.Net + " " + filepath.Base(addr.Name)
	}
	list, _ := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range list {
		fds, _ := unix.ParseUnixRights(&list[i])
		o.text += fmt.Sprintf(" and %d descriptors", len(fds))
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
	return o
}

func readFrom(conn messenger, room int) outcome {
	b := make([]byte, room)
	n, addr, err := conn.ReadFrom(b)
	o := outcome{text: string(b[:n]), n: n, err: kind(err)}
	if addr != nil {
		o.addr = addr.Network() + " " + filepath.Base(addr.String())
	}
	return o
}

// kind is the part of an error that has to be the same.
func kind(err error) string {
	if err == nil {
		return ""
	}
	if errors.Is(err, io.EOF) {
		return "EOF" // bare since Go 1.27, in a *net.OpError before
	}
	var op *net.OpError
	if !errors.As(err, &op) || op != err {
		return fmt.Sprintf("%T", err)
	}
	for _, target := range []error{net.ErrClosed, os.ErrDeadlineExceeded, net.ErrWriteToConnected, unix.EINVAL,
		unix.EAFNOSUPPORT, unix.EISCONN, unix.EPIPE, unix.EBADF} {
		if errors.Is(err, target) {
			return fmt.Sprintf("%s %s to %v: %v", op.Op, op.Net, op.Addr != nil, target)
		}
	}
	return err.Error()
}
