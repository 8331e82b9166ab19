package programs

// go-redis over the library's dialer, and the server of redis_server_test.go over its EventLoop.

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"
)

// overRedis runs test without TLS, and with it if the library under test has it.
func overRedis(t *testing.T, test func(t *testing.T, l layer)) {
	t.Run("plain", func(t *testing.T) { test(t, nil) })
	if newOwnLayer != nil {
		t.Run("TLS", func(t *testing.T) { test(t, newOwnLayer(t)) })
	}
}

// newRedisClient returns a client of s and its dialer. The client does not retry.
func newRedisClient(t *testing.T, s *redisServer, change ...func(*redis.Options)) (*redis.Client, *dialed) {
	t.Helper()
	d := &dialed{layer: s.layer}
	opts := &redis.Options{
		Addr: s.addr, Dialer: d.dial, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1,
		DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, PoolTimeout: patience,
		ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	for _, f := range change {
		f(opts)
	}
	c := redis.NewClient(opts)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, d
}

func TestRedisValuesOfEverySize(t *testing.T) {
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, d := newRedisClient(t, s)
		ctx := timeLimit(t)
		for i, size := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 1 << 20, 4<<20 + 7} {
			key, want := strconv.Itoa(size), pattern(i, size)
			require.NoError(t, c.Set(ctx, key, want, 0).Err())
			got, err := c.Get(ctx, key).Bytes()
			require.NoError(t, err)
			require.Equal(t, digest(want), digest(got))
		}
		require.ErrorIs(t, c.Get(ctx, "nothing").Err(), redis.Nil)
		require.EqualValues(t, 1, d.count.Load())
	})
}

func TestRedisPipelinesAndTransactionsAnswerInOrder(t *testing.T) {
	const commands = 1000
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, d := newRedisClient(t, s)
		ctx := timeLimit(t)
		for i, pipelined := range []func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error){
			c.Pipelined, c.TxPipelined,
		} {
			value := func(n int) string { return string(pattern(n, 1+n*i%97)) + strconv.Itoa(n) }
			results, err := pipelined(ctx, func(p redis.Pipeliner) error {
				for n := range commands {
					p.Set(ctx, strconv.Itoa(n), value(n), 0)
					p.Get(ctx, strconv.Itoa(n))
				}
				return nil
			})
			require.NoError(t, err)
			require.Len(t, results, 2*commands)
			for n := range commands {
				require.Equal(t, value(n), results[2*n+1].(*redis.StringCmd).Val())
			}
		}
		require.EqualValues(t, 1, d.count.Load())
	})
}

func TestRedisPoolIsSharedByMany(t *testing.T) {
	const callers, calls, size = 30, 25, 4
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, d := newRedisClient(t, s, func(o *redis.Options) { o.PoolSize = size })
		ctx := timeLimit(t)
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				key := "of " + strconv.Itoa(caller)
				for i := range calls {
					want := strconv.Itoa(i)
					err := c.Set(ctx, key, want, 0).Err()
					if err == nil {
						err = c.Incr(ctx, "total").Err()
					}
					got, getErr := c.Get(ctx, key).Result()
					if err != nil || getErr != nil || got != want {
						t.Errorf("%s: %q for %q, %v, %v", key, got, want, err, getErr)
						return
					}
				}
			})
		}
		wg.Wait()
		total, err := c.Get(ctx, "total").Int()
		require.NoError(t, err)
		require.Equal(t, callers*calls, total)
		require.LessOrEqual(t, d.count.Load(), int32(size))
		require.Equal(t, d.count.Load(), s.accepted.Load())
	})
}

// Behaviour 4.5: the handler of the publisher writes to the connections of the subscribers.
func TestRedisSubscribersGetEveryMessageInOrder(t *testing.T) {
	const subscribers, messages = 5, 200
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, _ := newRedisClient(t, s, func(o *redis.Options) { o.PoolSize = subscribers + 1 })
		ctx := timeLimit(t)
		var subscriptions []*redis.PubSub
		for range subscribers {
			p := c.Subscribe(ctx, "news")
			t.Cleanup(func() { _ = p.Close() })
			_, err := p.Receive(ctx) // the server confirms the subscription
			require.NoError(t, err)
			subscriptions = append(subscriptions, p)
		}
		for i := range messages {
			n, err := c.Publish(ctx, "news", fmt.Sprint(i, string(pattern(i, i*10)))).Result()
			require.NoError(t, err)
			require.EqualValues(t, subscribers, n)
		}
		for _, p := range subscriptions {
			for i := range messages {
				m, err := p.ReceiveMessage(ctx)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(i, string(pattern(i, i*10))), m.Payload)
			}
		}
	})
}

// Behaviour 5.4, 5.2: the handler blocks. A push by another client, its timeout, or the close of its client wakes it.
func TestRedisBlockingPop(t *testing.T) {
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, _ := newRedisClient(t, s, func(o *redis.Options) { o.PoolSize = 4 })
		pop := func(ctx context.Context, d time.Duration) <-chan error {
			result := make(chan error, 1)
			go func() {
				got, err := c.BLPop(ctx, d, "list").Result()
				if err == nil && (len(got) != 2 || got[1] != "element") {
					err = fmt.Errorf("got %q", got)
				}
				result <- err
			}()
			await(t, s.waiting, "the command")
			return result
		}
		ctx := timeLimit(t)
		woken := pop(ctx, 0)
		require.NoError(t, c.RPush(ctx, "list", "element").Err())
		require.NoError(t, await(t, woken, "the answer"))

		require.ErrorIs(t, await(t, pop(ctx, time.Second), "the answer"), redis.Nil)

		soon, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		require.Error(t, await(t, pop(soon, 0), "the answer"))
		await(t, s.gone, "the end of the connection whose answer nobody waits for")
		require.NoError(t, c.RPush(ctx, "list", "element").Err())
		_, err := c.BLPop(ctx, 0, "list").Result()
		require.NoError(t, err, "the pop that was given up took the element")
	})
}

// Behaviour 3.7, 2.3: a read timeout differs from other errors, and no other command gets the late answer.
func TestRedisCommandTimesOut(t *testing.T) {
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, d := newRedisClient(t, s, func(o *redis.Options) { o.ReadTimeout = 200 * time.Millisecond })
		ctx := timeLimit(t)
		err := c.Do(ctx, "HOLD").Err()
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		close(s.release)
		for i := range 5 {
			require.NoError(t, retry(3, func() error { return c.Set(ctx, "k", i, 0).Err() }))
			var got int
			require.NoError(t, retry(3, func() (err error) {
				got, err = c.Get(ctx, "k").Int()
				return err
			}))
			require.Equal(t, i, got)
		}
		require.GreaterOrEqual(t, d.count.Load(), int32(2))
	})
}

// retry calls f until it succeeds, at most n times: a call with a short timeout may fail on a busy machine.
func retry(n int, f func() error) (err error) {
	for range n {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}

// Behaviour 5.8: the pool checks the descriptor of an idle connection, with syscall.RawConn. If the connection has
// ended, it dials a new one, and no command fails.
func TestRedisPoolFindsThatIdleConnectionsHaveEnded(t *testing.T) {
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, d := newRedisClient(t, s)
		ctx := timeLimit(t)
		for i := range 5 {
			require.NoError(t, c.Set(ctx, "k", i, 0).Err())
			require.EqualValues(t, i+1, d.count.Load())
			require.NoError(t, c.Get(ctx, "k").Err())
			require.EqualValues(t, i+1, d.count.Load(), "an idle connection that is fine was not used")
			s.kill()
			ended := d.last.Load().(interface{ IsActive() bool })
			require.Eventually(t, func() bool { return !ended.IsActive() }, patience, time.Millisecond)
		}
	})
}

// Behaviour 6.1: Shutdown waits for the command that runs. The client reconnects to the next server at the same address.
func TestRedisClientSurvivesARestartOfItsServer(t *testing.T) {
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, _ := newRedisClient(t, s, func(o *redis.Options) {
			o.PoolSize, o.DialerRetries = 100, 1 // after PoolSize failures the pool does not dial for a second
		})
		ctx := timeLimit(t)
		require.NoError(t, c.Ping(ctx).Err())
		held, stopped := make(chan error, 1), make(chan error, 1)
		go func() { held <- c.Do(ctx, "HOLD").Err() }()
		await(t, s.waiting, "the command")
		go func() { stopped <- s.stop() }()
		requireRefused(t, s.addr)
		require.Empty(t, stopped, "Shutdown did not wait")
		close(s.release)
		require.NoError(t, await(t, held, "the answer"))
		require.NoError(t, await(t, stopped, "the end of Shutdown"))
		require.Error(t, retry(5, func() error { return c.Ping(ctx).Err() }), "nobody listens")

		startRedisOn(t, l, s.addr)
		require.NoError(t, retry(5, func() error { return c.Ping(ctx).Err() }))
	})
}

// Behaviour 5.7: a panic closes its connection and no other.
func TestRedisServerSurvivesAPanicInItsHandler(t *testing.T) {
	overRedis(t, func(t *testing.T, l layer) {
		s := startRedis(t, l)
		c, _ := newRedisClient(t, s)
		other, d := newRedisClient(t, s)
		ctx := timeLimit(t)
		require.NoError(t, other.Ping(ctx).Err())
		for range 3 {
			require.Error(t, c.Do(ctx, "BOOM").Err())
			require.NoError(t, c.Ping(ctx).Err())
			require.NoError(t, other.Ping(ctx).Err())
		}
		require.EqualValues(t, 1, d.count.Load())
	})
}
