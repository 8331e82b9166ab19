//go:build linux && !original

package compat

// Shared memory of the library below the frameworks, which take its listener and its dialer as they are.

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// localListener listens on a socket file: for "shm" with shared memory.
func localListener(t testing.TB, network string) net.Listener {
	t.Helper()
	ln, err := netpoll.CreateListener(network, filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	return ln
}

// localKitex is a server and a client on one machine.
func localKitex(t testing.TB, network string, kind transportKind) genericclient.Client {
	t.Helper()
	s := serveKitex(t, localListener(t, network), kind)
	resolver := &discovery.SynthesizedResolver{
		ResolveFunc: func(context.Context, string) (discovery.Result, error) {
			there := discovery.NewInstance(network, s.addr.String(), discovery.DefaultWeight, nil)
			return discovery.Result{Instances: []discovery.Instance{there}}, nil
		},
		TargetFunc: func(context.Context, rpcinfo.EndpointInfo) string { return t.Name() },
		NameFunc:   func() string { return t.Name() },
	}
	c, err := genericclient.NewClient("echo", newGeneric(t), append([]client.Option{
		client.WithResolver(resolver),
		client.WithDialer(new(netpoll.ShmDialer)), // for Unix sockets, too
		client.WithConnectTimeout(patience),
	}, kind.client...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestKitexOverSharedMemory(t *testing.T) {
	for _, kind := range transports {
		t.Run(kind.name, func(t *testing.T) {
			c := localKitex(t, "shm", kind)
			for i, size := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 1 << 20} {
				require.NoError(t, echo(c, text(i, size)), "%d bytes", size)
			}
			if kind.name == mux.name {
				return // its pool has a race of its own: see TestKitexCarriesManyCallsAtOnce
			}
			var calls sync.WaitGroup
			for i := range 20 {
				calls.Go(func() {
					for j := range 10 {
						if err := echo(c, text(i, 100*j)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			calls.Wait()
		})
	}
}

// The processor time is that of client and server together.
func BenchmarkKitexOnOneMachine(b *testing.B) {
	for _, size := range []int{100, 64 << 10} {
		for _, network := range []string{"shm", "unix"} {
			b.Run(fmt.Sprintf("%s/size=%d", network, size), func(b *testing.B) {
				c := localKitex(b, network, long)
				body := text(1, size)
				require.NoError(b, echo(c, body))
				before := processorTime()
				for b.Loop() {
					if err := echo(c, body); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((processorTime()-before).Microseconds())/float64(b.N), "CPU-µs/op")
			})
		}
	}
}

// processorTime is what the process has used.
func processorTime() time.Duration {
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// shmLayer dials shared memory where Hertz has its address.
type shmLayer struct{ to net.Addr }

func (l shmLayer) listener(ln net.Listener) net.Listener { return ln }
func (l shmLayer) dialer() netpoll.Dialer                { return new(netpoll.ShmDialer) }
func (l shmLayer) peer(conn net.Conn) net.Conn           { return conn }

func TestHertzOverSharedMemory(t *testing.T) {
	ln := localListener(t, "shm")
	s := &hertzServer{addr: ln.Addr(), layer: shmLayer{ln.Addr()}, ran: make(chan error, 1)}
	networks := make(chan string, 100)
	s.Hertz = server.New(server.WithListener(ln), server.WithNetwork("shm"), server.WithExitWaitTime(patience),
		server.WithDisablePrintRoute(true))
	echoRoutes(s.Hertz)
	s.Hertz.GET("/network", func(_ context.Context, c *app.RequestContext) { networks <- c.GetConn().LocalAddr().Network() })
	go func() { s.ran <- s.Run() }()
	require.Eventually(t, s.IsRunning, patience, time.Millisecond)
	c, d := newHertzClient(t, s)
	_, _, err := roundTrip(c, http.MethodGet, "http://local/network", nil)
	require.NoError(t, err)
	require.Equal(t, "shm", <-networks)
	for i, size := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 1 << 20, 3<<20 + 7} {
		body := randomBytes(uint64(i), size)
		code, got, err := roundTrip(c, http.MethodPost, "http://local/echo", body)
		require.NoError(t, err, "%d bytes", size)
		require.Equal(t, http.StatusOK, code)
		require.True(t, string(body) == got, "%d bytes came back as other %d bytes", size, len(got))
	}
	require.EqualValues(t, 1, d.dials.Load())
	s.shutdown(t)
}
