package netpoll_test

// This file holds the tests of what is set for the whole process, and of the options that reach connections. Tests that
// leave something changed run in a process of their own.

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
)

// Behaviour 6.6: Configure changes only what is set.
func TestConfigureChangesOnlyWhatIsSet(t *testing.T) {
	inSubprocess(t, func(t *testing.T) {
		var ran atomic.Int64
		log := newLines()
		require.NoError(t, netpoll.Configure(netpoll.Config{
			PollerNum:    3,
			LoggerOutput: log,
			LoadBalance:  netpoll.Random,
			Runner:       func(_ context.Context, f func()) { ran.Add(1); go f() },
		}))
		require.NoError(t, netpoll.Configure(netpoll.Config{}))
		require.NoError(t, netpoll.Configure(netpoll.Config{Feature: netpoll.Feature{AlwaysNoCopyRead: true}}))

		addr := serve(t, "tcp", func(context.Context, netpoll.Connection) error { panic("on purpose") })
		conn := plainDial(t, addr)
		send(t, conn, "x")
		requireEnd(t, conn)
		require.Positive(t, ran.Load(), "the runner was forgotten")
		require.Contains(t, log.String(), "on purpose", "the logger was forgotten")
		eventually(t, func() bool { return pollersRunning() == 3 }) // one may not have had its first turn yet
	})
}

// pollersRunning is the number of poll goroutines.
func pollersRunning() (n int) {
	records := make([]runtime.StackRecord, 4096)
	count, _ := runtime.GoroutineProfile(records)
	for _, r := range records[:count] {
		frames := runtime.CallersFrames(r.Stack())
		for {
			frame, more := frames.Next()
			if frame.Function == "github.com/cloudwego/netpoll.(*poller).run" {
				n++
			}
			if !more {
				break
			}
		}
	}
	return n
}

func TestConfigureRefusesInvalidValuesAsAWhole(t *testing.T) {
	inSubprocess(t, func(t *testing.T) {
		called := false
		spoil := func(_ context.Context, f func()) { called = true; go f() }
		for _, config := range []netpoll.Config{
			{PollerNum: -1, Runner: spoil},
			{BufferSize: -1, Runner: spoil},
			{LoadBalance: 7, Runner: spoil},
			{LoadBalance: -1, Runner: spoil},
		} {
			require.Error(t, netpoll.Configure(config))
		}
		require.Error(t, netpoll.SetNumLoops(0))
		require.Error(t, netpoll.SetNumLoops(-1))
		require.Error(t, netpoll.SetLoadBalance(7))
		requireEcho(t, dial(t, serve(t, "tcp", echo)), "hello")
		require.False(t, called)
	})
}

// Behaviour 6.6: the setters are safe at any time; shrinking the number of pollers strands no connection.
func TestSettersUnderLoad(t *testing.T) {
	inSubprocess(t, func(t *testing.T) {
		addr := serve(t, "tcp", echo)
		old := dial(t, addr)
		requireEcho(t, old, "before")
		stop := make(chan struct{})
		var group sync.WaitGroup
		for i := range 3 {
			group.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					changeSomething(t, n+i)
					if err := dialAndEcho(addr.String(), byte(n)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 200 {
			requireEcho(t, old, "meanwhile")
		}
		close(stop)
		group.Wait()
		requireEcho(t, old, "after")
		require.NoError(t, netpoll.SetNumLoops(1))
		requireEcho(t, old, "on a poller that takes no new ones")
	})
}

// changeSomething calls one of the setters.
func changeSomething(t *testing.T, n int) {
	var err error
	switch n % 6 {
	case 0:
		err = netpoll.SetNumLoops(1 + n%5)
	case 1:
		err = netpoll.SetLoadBalance(netpoll.LoadBalance(n / 6 % 2))
	case 2:
		netpoll.SetRunner(nil)
	case 3:
		netpoll.SetLoggerOutput(nil)
	case 4:
		err = netpoll.DisableGopool()
	case 5:
		err = netpoll.Configure(netpoll.Config{BufferSize: 1 + n, ReadLimit: 1 << 16})
	}
	if err != nil {
		t.Error(err)
	}
}

// Behaviour 6.7: importing the package starts no goroutine and opens no descriptor; Initialize does it early.
func TestImportStartsNothingAndInitializeDoes(t *testing.T) {
	inSubprocess(t, func(t *testing.T) {
		require.Zero(t, pollersRunning())
		require.LessOrEqual(t, runtime.NumGoroutine(), 3, "%s", stacks()) // main, this test, its deadline
		before := openDescriptors(t)
		netpoll.Initialize()
		netpoll.Initialize()
		eventually(t, func() bool { return pollersRunning() > 0 })
		require.Greater(t, openDescriptors(t), before)
	})
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// Behaviour 5.13: epoll and event descriptors, listeners and accepted sockets are close-on-exec.
func TestEveryDescriptorIsCloseOnExec(t *testing.T) {
	inSubprocess(t, func(t *testing.T) {
		requireEcho(t, dial(t, serve(t, "tcp", echo)), "hello")
		requireEcho(t, dial(t, serve(t, "unix", echo)), "hello")
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		seen := 0
		for _, entry := range entries {
			var fd int
			for _, digit := range entry.Name() {
				fd = 10*fd + int(digit-'0')
			}
			target, err := os.Readlink("/proc/self/fd/" + entry.Name())
			if err != nil || !strings.HasPrefix(target, "socket:") && !strings.HasPrefix(target, "anon_inode:") {
				continue // the list itself, and what the process was started with
			}
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			require.NoError(t, err)
			require.NotZero(t, flags&unix.FD_CLOEXEC, "descriptor %d: %s", fd, target)
			seen++
		}
		require.GreaterOrEqual(t, seen, 7) // an epoll, two listeners, two connections with two ends each
	})
}

func TestOptionsReachAcceptedConnections(t *testing.T) {
	type key struct{}
	connected := make(chan netpoll.Connection, 1)
	withContext := make(chan context.Context, 1)
	ln := listenOn(t, "tcp")
	serveOn(t, ln, nil,
		netpoll.Option{}, // does nothing
		netpoll.WithReadTimeout(time.Millisecond),
		netpoll.WithWriteTimeout(time.Minute),
		netpoll.WithIdleTimeout(7*time.Second+time.Nanosecond),
		netpoll.WithConnContext(),
		netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			return context.WithValue(context.Background(), key{}, "prepared")
		}),
		netpoll.WithOnConnect(func(ctx context.Context, c netpoll.Connection) context.Context {
			withContext <- ctx
			connected <- c
			return ctx
		}))
	client := plainDial(t, ln.Addr())
	ctx, conn := receive(t, withContext), receive(t, connected)

	_, err := conn.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrReadTimeout)
	fd := conn.(netpoll.Conn).Fd()
	require.Equal(t, 8, socketOption(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), "rounded up")
	require.Equal(t, "prepared", ctx.Value(key{}))
	require.NoError(t, ctx.Err())
	require.NoError(t, client.Close())
	receive(t, ctx.Done())
	require.ErrorIs(t, context.Cause(ctx), io.EOF)
}

func TestReadLimitHoldsThePeerBack(t *testing.T) {
	const limit = 64 << 10
	connected := make(chan netpoll.Connection, 1)
	ln := listenOn(t, "unix")
	serveOn(t, ln, nil, netpoll.WithReadLimit(limit),
		netpoll.WithOnConnect(func(ctx context.Context, c netpoll.Connection) context.Context {
			connected <- c
			return ctx
		}))
	client := plainDial(t, ln.Addr())
	require.NoError(t, client.SetWriteDeadline(time.Now().Add(10*calmTime)))
	sent, err := client.Write(make([]byte, 64<<20))
	var timeout net.Error
	require.ErrorAs(t, err, &timeout, "the peer was not held back: it sent %d bytes", sent)
	conn := receive(t, connected)
	require.LessOrEqual(t, conn.Reader().Len(), 2*limit)
	require.NoError(t, conn.SetReadTimeout(eventTimeout))
	require.NoError(t, conn.Reader().Skip(sent), "it goes on when it is read")
}

func TestIdleLimitClosesQuietConnections(t *testing.T) {
	ln := listenOn(t, "tcp")
	serveOn(t, ln, echo, netpoll.WithIdleLimit(shortTimeout))
	conn := plainDial(t, ln.Addr())
	requireEcho(t, conn, "hello")
	requireEnd(t, conn)
}
