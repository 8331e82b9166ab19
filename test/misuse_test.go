//go:build linux

package test

// Wrong arguments, everywhere: an error each, never a panic.

import (
	"context"
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 4.6: impossible requests are errors.
func TestWrongArgumentsAreErrors(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	w := conn.Writer()
	file, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	require.NoError(t, err)
	defer file.Close()
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	ctx, second := context.Background(), time.Second
	discarded := func(_ any, err error) error { return err }

	cases := map[string]func() error{
		"dial no network":        func() error { return discarded(netpoll.DialConnection("", "127.0.0.1:1", second)) },
		"dial unknown network":   func() error { return discarded(netpoll.DialConnection("ip", "127.0.0.1", second)) },
		"dial datagrams":         func() error { return discarded(netpoll.DialConnection("udp", "127.0.0.1", second)) },
		"dial no address":        func() error { return discarded(netpoll.DialConnection("tcp", "", second)) },
		"dial no port":           func() error { return discarded(netpoll.DialConnection("tcp", "127.0.0.1", second)) },
		"dial wild port":         func() error { return discarded(netpoll.DialConnection("tcp", "127.0.0.1:99999", second)) },
		"dial missing file":      func() error { return discarded(netpoll.DialConnection("unix", "/nonexistent/s", second)) },
		"dial no file":           func() error { return discarded(netpoll.DialConnection("unix", "", second)) },
		"DialTCP nil":            func() error { return discarded(netpoll.DialTCP(ctx, "tcp", nil, nil)) },
		"DialTCP unknown":        func() error { return discarded(netpoll.DialTCP(ctx, "x", nil, new(netpoll.TCPAddr))) },
		"DialUnix nil":           func() error { return discarded(netpoll.DialUnix("unix", nil, nil)) },
		"DialUnix unknown":       func() error { return discarded(netpoll.DialUnix("x", nil, &netpoll.UnixAddr{})) },
		"NewFDConnection(-1)":    func() error { return discarded(netpoll.NewFDConnection(-1)) },
		"NewFDConnection unused": func() error { return discarded(netpoll.NewFDConnection(math.MaxInt32)) },
		"NewFDConnection file":   func() error { return discarded(netpoll.NewFDConnection(dupOf(t, file))) },
		"CreateListener network": func() error { return discarded(netpoll.CreateListener("", "127.0.0.1:0")) },
		"CreateListener udp":     func() error { return discarded(netpoll.CreateListener("udp", "127.0.0.1:0")) },
		"CreateListener address": func() error { return discarded(netpoll.CreateListener("tcp", "127.0.0.1")) },
		"CreateListener path":    func() error { return discarded(netpoll.CreateListener("unix", "/nonexistent/s")) },
		"ConvertListener nil":    func() error { return discarded(netpoll.ConvertListener(nil)) },
		"ConvertListener nil of a type": func() error {
			return discarded(netpoll.ConvertListener((*net.TCPListener)(nil)))
		},
		"Serve nil":          func() error { return loop.Serve(nil) },
		"ResolveTCPAddr":     func() error { return discarded(netpoll.ResolveTCPAddr("tcp", "127.0.0.1")) },
		"ResolveTCPAddr net": func() error { return discarded(netpoll.ResolveTCPAddr("unix", "127.0.0.1:1")) },
		"ResolveUnixAddr":    func() error { return discarded(netpoll.ResolveUnixAddr("tcp", "/s")) },
		"SetNumLoops(0)":     func() error { return netpoll.SetNumLoops(0) },
		"SetNumLoops(-1)":    func() error { return netpoll.SetNumLoops(-1) },
		"SetLoadBalance(99)": func() error { return netpoll.SetLoadBalance(99) },
		"SetLoadBalance(-1)": func() error { return netpoll.SetLoadBalance(-1) },
		"Configure(99)":      func() error { return netpoll.Configure(netpoll.Config{LoadBalance: 99}) },
		"SetKeepAlive(-1)":   func() error { return netpoll.SetKeepAlive(-1, 10) },
		"MallocAck beyond":   func() error { return w.MallocAck(1) },
		"MallocAck(-1)":      func() error { return w.MallocAck(-1) },
		"WriteDirect beyond": func() error { return w.WriteDirect([]byte("x"), 1000) },
		"WriteDirect below":  func() error { return w.WriteDirect([]byte("x"), -1) },
		"Append to itself":   func() error { return w.Append(w) },
		"Append nil":         func() error { return w.Append(nil) },
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) { require.Error(t, f()) })
	}
	require.NoError(t, conn.Writer().Flush())
}

// dupOf duplicates a file's descriptor: it is the callee's if it takes it.
func dupOf(t *testing.T, file *os.File) int {
	t.Helper()
	other, err := os.Open(file.Name())
	require.NoError(t, err)
	t.Cleanup(func() { other.Close() })
	return int(other.Fd())
}

// Behaviour 3.2: requests for no bytes do nothing.
func TestOddArgumentsDoNothing(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	r, w := conn.Reader(), conn.Writer()
	discarded := func(_ any, err error) error { return err }
	for _, n := range []int{0, -1, math.MinInt} {
		require.NoError(t, discarded(r.Next(n)))
		require.NoError(t, discarded(r.Peek(n)))
		require.NoError(t, discarded(r.ReadBinary(n)))
		require.NoError(t, discarded(r.ReadString(n)))
		require.NoError(t, discarded(r.Slice(n)))
		require.NoError(t, r.Skip(n))
		require.NoError(t, discarded(w.Malloc(n)))
	}
	require.NoError(t, discarded(conn.Read(nil)))
	require.NoError(t, discarded(conn.Write(nil)))
	require.NoError(t, discarded(w.WriteBinary(nil)))
	require.NoError(t, discarded(w.WriteString("")))
	require.NoError(t, w.WriteDirect(nil, 0))
	require.NoError(t, w.Append((*netpoll.LinkBuffer)(nil)))
	require.NoError(t, w.Flush())
	require.NoError(t, r.Release())
	require.NoError(t, conn.SetReadTimeout(-time.Second))
	require.NoError(t, conn.SetWriteTimeout(-time.Second))
	require.NoError(t, conn.SetReadTimeout(math.MaxInt64))
	require.NoError(t, conn.SetWriteTimeout(math.MaxInt64))
	require.NoError(t, conn.SetOnRequest(nil))
	require.NoError(t, conn.AddCloseCallback(nil))
	netpoll.SetRunner(nil)
	require.NoError(t, netpoll.Configure(netpoll.Config{}))

	_, err := w.WriteString("still working")
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	buf := make([]byte, len("still working"))
	_, err = peer.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "still working", string(buf))
}

// Behaviour 4.7: after Close every method of a connection answers, and none panics.
func TestEveryMethodAnswersAfterClose(t *testing.T) {
	t.Parallel()
	conn, _ := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.Close())
	for _, op := range dialedRaceOps {
		t.Run(op.name, func(t *testing.T) {
			testkit.Within(t, testkit.Timeout, func() {
				if err := op.run(conn); !expectedInRace(err) {
					t.Errorf("%s after Close: %v", op.name, err)
				}
			})
		})
	}
	for name, call := range blockedCalls {
		require.ErrorIs(t, call(conn), netpoll.ErrConnClosed, name)
	}
	require.False(t, conn.IsActive())
}
