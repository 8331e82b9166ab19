package pool_test

// A pool of real connections.

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/pool"
)

// overUnix starts a server on a Unix socket and returns a pool of connections to it.
func overUnix(t *testing.T, onRequest netpoll.OnRequest, config pool.Config) *pool.Pool {
	t.Helper()
	address := filepath.Join(t.TempDir(), "s")
	ln, err := netpoll.CreateListener("unix", address)
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(onRequest)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	config.Dial = func(ctx context.Context) (netpoll.Connection, error) {
		return netpoll.DialContext(ctx, "unix", address)
	}
	p, err := pool.New(config)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
		defer cancel()
		require.NoError(t, loop.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	return p
}

// answer echoes. A request of "close" closes instead, and one of "late" is answered twice.
func answer(_ context.Context, conn netpoll.Connection) error {
	r := conn.Reader()
	defer r.Release()
	line, err := r.Until('\n')
	switch {
	case err != nil:
		return err
	case string(line) == "close\n":
		return conn.Close()
	case string(line) == "late\n":
		line = []byte("late\nlate\n")
	}
	_, err = conn.Write(line)
	return err
}

func request(conn netpoll.Connection, line string) (string, error) {
	if _, err := conn.Write([]byte(line)); err != nil {
		return "", err
	}
	answer, err := conn.Reader().Until('\n')
	text := string(answer)
	_ = conn.Reader().Release()
	return text, err
}

func TestConnectionThatItsServerHasEndedIsNotHandedOut(t *testing.T) {
	p := overUnix(t, answer, pool.Config{MaxConns: 1})
	conn, err := p.Get(t.Context())
	require.NoError(t, err)
	_, err = request(conn, "a\n")
	require.NoError(t, err)
	_, err = conn.Write([]byte("close\n"))
	require.NoError(t, err)
	p.Put(conn)
	testkit.Eventually(t, func() bool { return !conn.IsActive() })
	fresh, err := p.Get(t.Context())
	require.NoError(t, err)
	require.NotSame(t, conn, fresh)
	text, err := request(fresh, "b\n")
	require.NoError(t, err)
	require.Equal(t, "b\n", text)
	p.Put(fresh)
}

func TestConnectionWithALateAnswerIsNotHandedOut(t *testing.T) {
	p := overUnix(t, answer, pool.Config{MaxConns: 1})
	conn, err := p.Get(t.Context())
	require.NoError(t, err)
	_, err = conn.Write([]byte("late\n"))
	require.NoError(t, err)
	_, err = conn.Reader().Until('\n')
	require.NoError(t, err)
	require.NoError(t, conn.Reader().Release())
	p.Put(conn) // kept or closed: that depends on how much of the answer has arrived
	testkit.Eventually(t, func() bool { return conn.Reader().Len() == 5 || !conn.IsActive() })
	fresh, err := p.Get(t.Context())
	require.NoError(t, err)
	require.NotSame(t, conn, fresh)
	p.Put(fresh)
}

// Many callers, connections that end at any moment, contexts that end while callers wait: each answer is that of its
// request, there are never more connections than allowed, and nothing is lost in the end.
func TestManyCallersShareFewConnections(t *testing.T) {
	const callers, requests, limit = 16, 150, 4
	p := overUnix(t, answer, pool.Config{MaxConns: limit, MaxIdle: 2, IdleTime: time.Millisecond})
	var inUse, most atomic.Int64
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range requests {
				ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
				if i%10 == 9 {
					cancel() // before, while, or after it waits
				}
				conn, err := p.Get(ctx)
				cancel()
				if i%10 == 9 && err != nil {
					continue
				}
				if err != nil {
					t.Errorf("caller %d: %v", caller, err)
					return
				}
				for now := inUse.Add(1); ; {
					if old := most.Load(); now <= old || most.CompareAndSwap(old, now) {
						break
					}
				}
				line := string(rune('a'+caller)) + "\n"
				text, err := request(conn, line)
				inUse.Add(-1)
				switch {
				case errors.Is(err, netpoll.ErrConnClosed): // "close" of another caller was on its way
					conn.Close()
				case err != nil || text != line:
					t.Errorf("caller %d: %q, %v", caller, text, err)
					conn.Close()
				case i%7 == 0:
					conn.Close()
				case i%7 == 1:
					_, _ = conn.Write([]byte("close\n"))
					p.Put(conn)
				default:
					p.Put(conn)
				}
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, most.Load(), int64(limit))
	stats := p.Stats()
	require.Zero(t, stats.InUse+stats.Waiting+stats.Dialing)
	conns := make([]netpoll.Connection, limit) // every place is there again
	for i := range conns {
		var err error
		conns[i], err = p.Get(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, limit, p.Stats().InUse)
	for _, conn := range conns {
		p.Put(conn)
	}
}
