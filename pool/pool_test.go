package pool_test

// What a pool keeps, hands out and closes, and who waits for how long.

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/pool"
)

func TestConnectionThatWasUsedLastIsUsedNext(t *testing.T) {
	p, _ := made(t, pool.Config{})
	one, two, three := get(t, p), get(t, p), get(t, p)
	p.Put(one)
	p.Put(three)
	p.Put(two)
	require.Same(t, two, get(t, p))
	require.Same(t, three, get(t, p))
	require.Equal(t, pool.Stats{InUse: 2, Idle: 1, Dialed: 3, Reused: 2}, p.Stats())
}

func TestSettingsThatMakeNoSenseAreErrors(t *testing.T) {
	dial := new(factory).dial
	for _, config := range []pool.Config{{}, {Dial: dial, MaxConns: -1}, {Dial: dial, IdleTime: -1}} {
		_, err := pool.New(config)
		require.ErrorContains(t, err, "make connection pool")
	}
}

// A connection that is not fit is closed, and its place is the caller's: at MaxConns it does not wait for it.
func TestUnfitConnectionIsReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(c *fakeConn)
		look  bool // found by looking only
	}{
		"ended by the peer":        {spoil: func(c *fakeConn) { c.gone.Store(true) }},
		"with input in its buffer": {spoil: func(c *fakeConn) { _ = errors.Join(c.input.WriteByte('x'), c.input.Flush()) }},
		"with input in its socket": {spoil: func(c *fakeConn) { c.dirty.Store(true) }, look: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := made(t, pool.Config{MaxConns: 2})
			one, two := get(t, p), get(t, p)
			p.Put(one)
			p.Put(two)
			test.spoil(one)
			test.spoil(two)
			fresh := get(t, p)
			require.Equal(t, 2, fresh.number)
			require.True(t, one.isClosed() && two.isClosed())
			require.Equal(t, pool.Stats{InUse: 1, Dialed: 3, Unfit: 2}, p.Stats())
			get(t, p) // there is a second place again, and no third one
			ctx, cancel := context.WithCancel(t.Context())
			third := queue(t, ctx, p, 3)
			cancel()
			require.ErrorIs(t, testkit.Receive(t, third).err, context.Canceled)

			p, _ = made(t, pool.Config{NoLook: true})
			conn := get(t, p)
			p.Put(conn)
			test.spoil(conn)
			require.Equal(t, test.look, get(t, p) == conn)
		})
	}
}

func TestPutClosesWhatIsNotFit(t *testing.T) {
	p, _ := made(t, pool.Config{MaxConns: 1})
	conn := get(t, p)
	require.NoError(t, errors.Join(conn.input.WriteByte('x'), conn.input.Flush()))
	p.Put(conn)
	require.True(t, conn.isClosed())
	require.Equal(t, pool.Stats{Dialed: 1, Unfit: 1}, p.Stats())
	get(t, p)
}

func TestPutKeepsNoMoreThanMaxIdle(t *testing.T) {
	for limit, kept := range map[int]int{1: 1, 0: 2, -1: 0} {
		p, _ := made(t, pool.Config{MaxIdle: limit})
		one, two := get(t, p), get(t, p)
		p.Put(one)
		p.Put(two)
		require.Equal(t, pool.Stats{Idle: kept, Dialed: 2, Surplus: uint64(2 - kept)}, p.Stats())
		require.Equal(t, kept < 2, two.isClosed())
	}
}

func TestPutTwiceIsPutOnceAndAStrangerIsClosed(t *testing.T) {
	p, f := made(t, pool.Config{})
	conn := get(t, p)
	p.Put(conn)
	p.Put(conn)
	require.Equal(t, 1, p.Stats().Idle)
	require.False(t, conn.isClosed())
	stranger, err := f.dial(t.Context())
	require.NoError(t, err)
	p.Put(stranger)
	require.True(t, stranger.(*fakeConn).isClosed())
	require.Equal(t, 1, p.Stats().Idle)
}

// got is what a call of Get returned.
type got struct {
	caller int
	conn   netpoll.Connection
	err    error
}

// queue makes calls of Get that wait, one behind the other.
func queue(t *testing.T, ctx context.Context, p *pool.Pool, callers ...int) <-chan got {
	results := make(chan got, len(callers))
	before := p.Stats().Waiting
	for i, caller := range callers {
		go func() {
			conn, err := p.Get(ctx)
			results <- got{caller, conn, err}
		}()
		testkit.Eventually(t, func() bool { return p.Stats().Waiting == before+i+1 }, "caller %d to wait", caller)
	}
	return results
}

func TestCallersGetTheirTurnInTheOrderTheyCame(t *testing.T) {
	p, f := made(t, pool.Config{MaxConns: 1})
	conn := get(t, p)
	results := queue(t, t.Context(), p, 1, 2, 3, 4)
	p.Put(conn) // put back, it goes to the first one
	require.Equal(t, got{1, conn, nil}, testkit.Receive(t, results))

	require.NoError(t, conn.Close()) // closed, its place goes to the next one
	g := testkit.Receive(t, results)
	require.Equal(t, 2, g.caller)
	second := g.conn.(*fakeConn)
	require.Equal(t, 1, second.number)

	second.gone.Store(true) // not fit, its place goes to the next one
	p.Put(second)
	g = testkit.Receive(t, results)
	require.Equal(t, 3, g.caller)

	g.conn.(*fakeConn).dirty.Store(true) // what only looking finds is replaced for the one that looks
	p.Put(g.conn)
	g = testkit.Receive(t, results)
	require.Equal(t, 4, g.caller)
	require.Equal(t, 3, g.conn.(*fakeConn).number)
	stats := p.Stats()
	require.NotZero(t, stats.WaitTime)
	stats.WaitTime = 0
	require.Equal(t, pool.Stats{InUse: 1, Dialed: 4, Reused: 1, Unfit: 2, Waited: 4}, stats)
	require.Len(t, f.conns, 4)
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	p, _ := made(t, pool.Config{MaxConns: 1})
	conn := get(t, p)
	reason := errors.New("reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	given := queue(t, ctx, p, 1)
	next := queue(t, t.Context(), p, 2)
	cancel(reason)
	g := testkit.Receive(t, given)
	require.ErrorIs(t, g.err, reason)
	require.ErrorContains(t, g.err, "get connection: all 1 are in use")
	p.Put(conn)
	require.Equal(t, got{2, conn, nil}, testkit.Receive(t, next))
	require.Equal(t, uint64(1), p.Stats().GaveUp)

	_, err := p.Get(ctx)
	require.ErrorIs(t, err, reason)
}

func TestDialThatFailsGivesItsPlaceOn(t *testing.T) {
	p, f := made(t, pool.Config{MaxConns: 1})
	refused := errors.New("refused")
	conn := get(t, p)
	results := queue(t, t.Context(), p, 1, 2)
	f.fail.Store(&refused)
	require.NoError(t, conn.Close())
	for range 2 {
		require.ErrorIs(t, testkit.Receive(t, results).err, refused)
	}
	stats := p.Stats()
	stats.WaitTime = 0
	require.Equal(t, pool.Stats{Dialed: 1, Failed: 2, Waited: 2}, stats)
	f.fail.Store(nil)
	get(t, p)
}

func TestDialThatPanicsKeepsNoPlace(t *testing.T) {
	panics := true
	p, err := pool.New(pool.Config{MaxConns: 1, Dial: func(ctx context.Context) (netpoll.Connection, error) {
		if panics {
			panic("dial")
		}
		return new(factory).dial(ctx)
	}})
	require.NoError(t, err)
	defer p.Close()
	require.Panics(t, func() { _, _ = p.Get(t.Context()) })
	panics = false
	get(t, p)
}

func TestIdleConnectionsAreClosedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := made(t, pool.Config{IdleTime: time.Minute})
		one, two, three, four := get(t, p), get(t, p), get(t, p), get(t, p)
		p.Put(one)
		time.Sleep(40 * time.Second)
		p.Put(four)
		p.Put(two)
		p.Put(three)
		three.gone.Store(true) // found when the others are looked at, at the latest
		time.Sleep(21 * time.Second)
		synctest.Wait()
		require.True(t, one.isClosed() && three.isClosed() && !two.isClosed() && !four.isClosed())
		require.Equal(t, pool.Stats{Idle: 2, Dialed: 4, Expired: 1, Unfit: 1}, p.Stats())

		require.Same(t, two, get(t, p)) // its time begins anew
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.True(t, four.isClosed() && !two.isClosed())
		p.Put(two)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.False(t, two.isClosed())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, two.isClosed())
	})
}

func TestCloseEndsWaitingAndClosesWhatIsIdle(t *testing.T) {
	p, _ := made(t, pool.Config{MaxConns: 2, IdleTime: time.Hour})
	used, idle := get(t, p), get(t, p)
	p.Put(idle)
	require.Same(t, idle, get(t, p))
	results := queue(t, t.Context(), p, 1)
	require.NoError(t, p.Close())
	err := testkit.Receive(t, results).err
	require.ErrorIs(t, err, pool.ErrClosed)
	require.ErrorIs(t, err, net.ErrClosed)
	p.Put(idle)
	p.Put(used)
	require.True(t, idle.isClosed() && used.isClosed())
	_, err = p.Get(t.Context())
	require.ErrorIs(t, err, pool.ErrClosed)
	stats := p.Stats()
	require.Zero(t, stats.InUse+stats.Idle+stats.Waiting+stats.Dialing)
	require.NoError(t, p.Close())
}

func TestConnectionThatIsDialedWhileThePoolClosesIsClosed(t *testing.T) {
	var p *pool.Pool
	conn := new(fakeConn)
	p, err := pool.New(pool.Config{Dial: func(context.Context) (netpoll.Connection, error) {
		return conn, p.Close()
	}})
	require.NoError(t, err)
	_, err = p.Get(t.Context())
	require.ErrorIs(t, err, pool.ErrClosed)
	require.True(t, conn.isClosed())
	require.Zero(t, p.Stats().InUse)
}

func TestIdleConnectionThatIsClosedLeavesThePool(t *testing.T) {
	p, _ := made(t, pool.Config{})
	one, two := get(t, p), get(t, p)
	p.Put(one)
	p.Put(two)
	require.NoError(t, one.Close())
	require.Equal(t, pool.Stats{Idle: 1, Dialed: 2}, p.Stats())
	require.Same(t, two, get(t, p))
}

func TestReuseAllocatesNothing(t *testing.T) {
	p, _ := made(t, pool.Config{MaxConns: 1, IdleTime: time.Hour})
	ctx := t.Context()
	p.Put(get(t, p))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		conn, err := p.Get(ctx)
		if err != nil {
			t.Error(err)
		}
		p.Put(conn)
	}))
}
