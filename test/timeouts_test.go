//go:build linux

package test

// Timeouts and deadlines of several calls at once, and of an idle limit beside a handler.

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 3.7, 3.9, 4.5: the timeout of a Read or Write covers its wait for its turn, too: those of concurrent calls
// do not add up.
func TestTimeoutsOfConcurrentCallsDoNotAddUp(t *testing.T) {
	const calls, timeout = 20, 200 * time.Millisecond
	more := make([]byte, 16<<20) // than the socket takes
	for name, c := range map[string]struct {
		do   func(conn netpoll.Connection) error
		want error
	}{
		"Read": {func(conn netpoll.Connection) error {
			_, err := conn.Read(make([]byte, 1))
			return err
		}, netpoll.ErrReadTimeout},
		"Write": {func(conn netpoll.Connection) error {
			_, err := conn.Write(more)
			return err
		}, netpoll.ErrWriteTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := testnet.Dialed(t, "tcp")
			require.NoError(t, conn.SetReadTimeout(timeout))
			require.NoError(t, conn.SetWriteTimeout(timeout))
			var all sync.WaitGroup
			failures := make(chan error, calls)
			start := time.Now()
			for range calls {
				all.Go(func() { failures <- c.do(conn) })
			}
			all.Wait()
			require.Less(t, time.Since(start), calls*timeout/2)
			for range calls {
				require.ErrorIs(t, testkit.Receive(t, failures), c.want)
			}
		})
	}
}

// Behaviour 3.8, 3.9: a deadline reaches both the Read that waits for input and those that wait behind it.
func TestReadDeadlineReachesReadsThatWaitForTheirTurn(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	first := testkit.Blocked(t, func() error { _, err := conn.Read(make([]byte, 1)); return err })
	second := make(chan error, 1)
	go func() { _, err := conn.Read(make([]byte, 1)); second <- err }()
	testkit.Silent(t, testkit.Calm, second, "the end of the second Read")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Short)))
	require.ErrorIs(t, testkit.Receive(t, first), netpoll.ErrReadTimeout)
	require.ErrorIs(t, testkit.Receive(t, second), netpoll.ErrReadTimeout)
}

// Behaviour 3.7: a negative timeout is ignored: it does not clear a deadline either.
func TestNegativeTimeoutKeepsTheDeadline(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.SetDeadline(time.Now().Add(-time.Second)))
	require.NoError(t, conn.SetReadTimeout(-1))
	require.NoError(t, conn.SetWriteTimeout(-1))
	result := make(chan error, 1)
	go func() { _, err := conn.Reader().Next(1); result <- err }()
	require.ErrorIs(t, testkit.Receive(t, result), netpoll.ErrReadTimeout)
	_, err := conn.Write([]byte("x"))
	require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
}

// Behaviour 6.4: a handler that has run for long is traffic: the whole idle limit begins when it returns.
func TestIdleLimitBeginsWhenTheHandlerReturns(t *testing.T) {
	const limit = 200 * time.Millisecond
	ended, closed := make(chan time.Time, 1), make(chan time.Time, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		<-time.After(2*limit - limit/10) // just short of the second time that the limit may be looked at
		ended <- time.Now()
		return nil
	}, netpoll.WithIdleLimit(limit), netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { closed <- time.Now(); return nil })
		return context.Background()
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	handled := testkit.Receive(t, ended)
	idle := testkit.Receive(t, closed).Sub(handled)
	require.Greater(t, idle, limit*3/4, fmt.Sprintf("closed %v after the handler's end", idle))
}
