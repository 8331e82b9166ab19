//go:build !netconn && !kqsim

package test

// The figures of the process, compared with those of the kernel.

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tcpInfo is what the kernel knows of the socket of c.
func tcpInfo(t testing.TB, c net.Conn) (info *unix.TCPInfo) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) }))
	require.NoError(t, err)
	return info
}

// established is how many connections of these clients the kernel has open on the side of the server.
func established(t testing.TB, conns []net.Conn) (n int) {
	pairs := make(map[string]bool) // of local and remote port; others may use the ports for other peers
	for _, c := range conns {
		pairs[fmt.Sprintf("%04X-%04X", c.RemoteAddr().(*net.TCPAddr).Port, c.LocalAddr().(*net.TCPAddr).Port)] = true
	}
	t.Helper()
	f, err := os.Open("/proc/self/net/tcp")
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // number, local address, remote address, state, …
		_, local, _ := strings.Cut(fields[1], ":")
		_, remote, _ := strings.Cut(fields[2], ":")
		if pairs[local+"-"+remote] && fields[3] == "01" {
			n++
		}
	}
	return n
}

// Whatever carries them, by plain calls or many at a time, the kernel has counted the same bytes for the sockets of the
// clients, which are those of package net.
func TestStatsAgreeWithTheKernel(t *testing.T) {
	for _, executor := range []string{"off", "always"} {
		t.Run("executors="+executor, func(t *testing.T) {
			if !testkit.InOwnProcess(t, "NETPOLL_IOURING="+executor, "NETPOLL_AIO="+executor) {
				return
			}
			s := testnet.NewServer(t, "tcp", testnet.Echo)
			conns := make([]net.Conn, 30)
			var clients sync.WaitGroup
			for i := range conns {
				conns[i] = s.Dial()
				clients.Go(func() {
					for size := range 40 {
						testkit.ExpectEcho(t, conns[i], string(testkit.Pattern(size*size*i+1)))
					}
				})
			}
			clients.Wait()
			var in, out uint64
			for _, c := range conns {
				info := tcpInfo(t, c)
				in += info.Bytes_sent - info.Bytes_retrans
				out += info.Bytes_received
			}
			testkit.Eventually(t, func() bool { return netpoll.ReadStats().Traffic.BytesOut == out }, "%d bytes were sent", out)
			stats := netpoll.ReadStats()
			require.Equal(t, in, stats.Traffic.BytesIn)
			require.Equal(t, out, stats.Traffic.BytesOut)
			require.Equal(t, established(t, conns), stats.EventLoops[0].Conns.Open)

			batches := stats.Traffic.IOUring.Calls + stats.Traffic.AIO.Calls
			operations := stats.Traffic.IOUring.Operations + stats.Traffic.AIO.Operations
			if executor == "off" {
				require.Zero(t, batches)
				require.NotZero(t, stats.Traffic.Receives)
			} else if f := netpoll.Features(); f.IOUring || f.AIO {
				require.NotZero(t, batches)
				require.GreaterOrEqual(t, operations, batches)
			}
		})
	}
}
