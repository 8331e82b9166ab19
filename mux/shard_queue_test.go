package mux_test

// ShardQueue while its connection works: order, sharing of flushes, Close.

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/mux"
)

// Behaviour 7.1: Add calls getters in order per shard and appends what they return.
func TestGettersOfOneShardAreSentInOrder(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(1, conn)
	var want strings.Builder
	for i := range 500 {
		s := fmt.Sprintf("<%d>", i)
		want.WriteString(s)
		q.Add(text(t, s))
	}
	q.Add(text(t, "a"), text(t, "b"), text(t, "c"))
	require.NoError(t, q.Close())
	require.Equal(t, want.String()+"abc", conn.writer.sentBytes())
}

// Behaviour 7.1: the getters of one Add stay together and in order, whatever the other shards do.
func TestGettersOfOneAddStayTogetherOnManyShards(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(8, conn)
	const callers, adds = 8, 100
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range adds {
				q.Add(text(t, fmt.Sprintf("[%d.%d", c, i)), text(t, "]"))
			}
		})
	}
	wg.Wait()
	require.NoError(t, q.Close())
	sent := conn.writer.sentBytes()
	for c := range callers {
		for i := range adds {
			require.Equal(t, 1, strings.Count(sent, fmt.Sprintf("[%d.%d]", c, i)), "caller %d, add %d", c, i)
		}
	}
}

// Behaviour 7.1: one flush per drain.
func TestWhatIsQueuedDuringADrainSharesOneFlush(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(4, conn)
	inFlush, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	conn.writer.onFlush = func() error {
		once.Do(func() {
			close(inFlush)
			<-goOn
		})
		return nil
	}
	q.Add(text(t, "first"))
	testkit.Receive(t, inFlush, "the first flush")
	for range 100 {
		q.Add(text(t, "x"))
	}
	close(goOn)
	require.NoError(t, q.Close())
	require.Equal(t, "first"+strings.Repeat("x", 100), conn.writer.sentBytes())
	require.Equal(t, 2, conn.writer.flushCount())
}

// Behaviour 7.1: isNil is skipped.
// Callers that can run at the same time share a flush, also where there is one processor and the drain could always come
// first.
func TestCallersThatCanRunShareOneFlush(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const callers, rounds = 100, 10
	conn := newMockConn()
	q := mux.NewShardQueue(4, conn)
	for range rounds {
		start := make(chan struct{})
		var added sync.WaitGroup
		for range callers {
			added.Go(func() {
				<-start
				q.Add(text(t, "x"))
			})
		}
		close(start)
		added.Wait()
	}
	require.NoError(t, q.Close())
	require.Len(t, conn.writer.sentBytes(), callers*rounds)
	require.Less(t, conn.writer.flushCount(), callers*rounds/10)
}

func TestNilGettersAreSkippedAndFlushNothing(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(2, conn)
	get, called := mark()
	q.Add(get)
	testkit.Receive(t, called, "the getter")
	q.Add()
	require.NoError(t, q.Close())
	require.Zero(t, conn.writer.flushCount(), "a flush without anything to send")
	require.Zero(t, conn.closeCount())
}

// Behaviour 7.1: Close waits for what was queued.
func TestCloseWaitsForQueuedGettersAndTheirFlush(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(4, conn)
	get, entered, release := held()
	q.Add(get)
	testkit.Receive(t, entered, "the first getter")
	for range 20 {
		q.Add(text(t, "x"))
	}
	closed := make(chan error, 1)
	var sentAtReturn string
	go func() {
		err := q.Close()
		sentAtReturn = conn.writer.sentBytes()
		closed <- err
	}()
	require.Empty(t, closed)
	close(release)
	require.NoError(t, <-closed)
	require.Equal(t, strings.Repeat("x", 20), sentAtReturn)
}

// Behaviour 7.1: a second Close is an error.
func TestSecondCloseIsErrConnClosed(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(4, conn)
	require.NoError(t, q.Err())
	require.NoError(t, q.Close())
	require.ErrorIs(t, q.Close(), netpoll.ErrConnClosed)
	require.ErrorIs(t, q.Err(), netpoll.ErrConnClosed)
	require.Zero(t, conn.closeCount(), "closing the queue closed the connection")
}

// Behaviour 7.1: of many that close at once, one waits and succeeds.
func TestOneOfManyConcurrentClosesSucceeds(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(4, conn)
	q.Add(text(t, "x"))
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- q.Close() }()
	}
	succeeded := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			succeeded++
			require.Equal(t, "x", conn.writer.sentBytes())
		}
	}
	require.Equal(t, 1, succeeded)
}

// Behaviour 7.1: every getter whose Add returned before Close is sent, however the Adds raced.
func TestNoGetterIsForgottenWhenCloseRacesWithAdd(t *testing.T) {
	const rounds, callers = 200, 6
	for range rounds {
		conn := newMockConn()
		q := mux.NewShardQueue(2, conn)
		// The callers go on, so that Close meets Adds in every state; the count is of those known to be queued before.
		var queued, all sync.WaitGroup
		for range callers {
			queued.Add(1)
			all.Go(func() {
				q.Add(text(t, "a"))
				queued.Done()
				q.Add(text(t, "b"))
			})
		}
		queued.Wait()
		_ = q.Close() // an error when a "b" came too late, which is not the question here
		require.Equal(t, callers, strings.Count(conn.writer.sentBytes(), "a"))
		all.Wait()
	}
}

func TestGetterMayAddFromInside(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(1, conn)
	done := make(chan struct{})
	left := 50
	var again mux.WriterGetter
	again = func() (netpoll.Writer, bool) {
		if left == 0 {
			close(done)
			return nil, true
		}
		left--
		q.Add(again)
		return filled(t, "x"), false
	}
	q.Add(again)
	testkit.Receive(t, done, "the last getter")
	require.NoError(t, q.Close())
	require.Equal(t, strings.Repeat("x", 50), conn.writer.sentBytes())
}

// Behaviour 7.2: size <= 0 means the default.
func TestSizeOfZeroOrLessMeansShardSize(t *testing.T) {
	before := mux.ShardSize
	t.Cleanup(func() { mux.ShardSize = before })
	for _, shardSize := range []int{1, 32, 0, -1} {
		mux.ShardSize = shardSize
		for _, size := range []int{0, -1, math.MinInt} {
			conn := newMockConn()
			q := mux.NewShardQueue(size, conn)
			q.Add(text(t, "x"))
			require.NoError(t, q.Close())
			require.Equal(t, "x", conn.writer.sentBytes(), "size %d, ShardSize %d", size, shardSize)
		}
	}
}

// Behaviour 7.2: the queue does not ask IsActive before it appends; the mock's is false.
func TestQueueSendsOnAConnectionThatSaysInactive(t *testing.T) {
	conn := newMockConn()
	require.False(t, conn.IsActive())
	q := mux.NewShardQueue(2, conn)
	q.Add(text(t, "x"))
	require.NoError(t, q.Close())
	require.Equal(t, "x", conn.writer.sentBytes())
}
