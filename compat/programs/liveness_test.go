package programs

// Connection pools of drivers check an idle connection before they use it again: with syscall.RawConn and one read that
// does not wait. The check must fail for a connection that has anything to read, or that has ended.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"
)

var errUnreadInput = errors.New("unread input")

// look returns an error if an idle connection is not fit for use. Like the MySQL driver, it consumes a byte if one has
// arrived.
func look(conn net.Conn) error {
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("no syscall.Conn")
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return err
	}
	var found error
	err = raw.Read(func(fd uintptr) bool {
		var p [1]byte
		switch n, err := syscall.Read(int(fd), p[:]); {
		case n > 0:
			found = errUnreadInput
		case n == 0 && err == nil:
			found = io.EOF
		case err != syscall.EAGAIN && err != syscall.EWOULDBLOCK:
			found = err
		}
		return true
	})
	return errors.Join(err, found)
}

// awaitInput waits until input has arrived at conn, in its socket or in its buffer.
func awaitInput(t *testing.T, conn net.Conn) {
	t.Helper()
	arrived := func() bool { // for package net: peeks into the socket
		raw, err := conn.(syscall.Conn).SyscallConn()
		n := 0
		return err == nil && raw.Read(func(fd uintptr) bool {
			n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			return true
		}) == nil && n > 0
	}
	if buffered, ok := conn.(interface{ Len() int }); ok {
		arrived = func() bool { return buffered.Len() > 0 }
	}
	require.Eventually(t, arrived, patience, time.Millisecond, "no input")
}

// Behaviour 9.7.
func TestLivenessCheckFindsUnreadInput(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		overBothEnds(t, on, func(t *testing.T, conn net.Conn, peer *net.TCPConn) {
			for range 3 {
				require.NoError(t, look(conn))
			}
			for i := range 3 { // the connection is used, and good again
				_, err := fmt.Fprintf(peer, "reply %d\n", i)
				require.NoError(t, err)
				got := make([]byte, len("reply 0\n"))
				_, err = io.ReadFull(conn, got)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("reply %d\n", i), string(got))
				require.NoError(t, look(conn))
			}
			_, err := fmt.Fprint(peer, "stale")
			require.NoError(t, err)
			awaitInput(t, conn)
			require.Error(t, look(conn))
		})
	})
}

func TestLivenessCheckFindsTheEnd(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		overBothEnds(t, on, func(t *testing.T, conn net.Conn, peer *net.TCPConn) {
			require.NoError(t, look(conn))
			require.NoError(t, peer.Close())
			require.Eventually(t, func() bool { return look(conn) != nil }, patience, time.Millisecond)
			require.NoError(t, conn.Close())
			require.Error(t, look(conn))
		})
	})
}

// serveStaleRedis answers GET with the number of the connection. Then it waits for stale, and sends a second answer that
// no command asked for. Other commands are unknown to it.
func serveStaleRedis(conn net.Conn, number int32, stale <-chan struct{}) {
	r := bufio.NewReader(conn)
	for {
		var n int
		if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
			return
		}
		var words []string
		for range n {
			_, err := r.ReadString('\n') // the line with the length
			word, err2 := r.ReadString('\n')
			if errors.Join(err, err2) != nil {
				return
			}
			words = append(words, strings.TrimSpace(word))
		}
		if !strings.EqualFold(words[0], "get") {
			fmt.Fprint(conn, "-ERR unknown command\r\n")
			continue
		}
		fmt.Fprintf(conn, ":%d\r\n", number)
		<-stale
		fmt.Fprint(conn, ":-1\r\n")
	}
}

// Behaviour 9.7: the pool of go-redis dials a new connection, and does not take the stale answer for that of the next
// command.
func TestRedisPoolDropsAConnectionWithAStaleReply(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		var served atomic.Int32
		stale := make(chan struct{})
		address := sides{}.serveEach(t, func(conn net.Conn) { serveStaleRedis(conn, served.Add(1), stale) })
		defer close(stale)
		dials := make(chan net.Conn, 16)
		c := redis.NewClient(&redis.Options{
			Addr: address, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1,
			ReadTimeout: patience, WriteTimeout: patience, PoolTimeout: patience,
			Dialer: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := on.dial(ctx, network, address)
				if err == nil {
					dials <- conn
				}
				return conn, err
			},
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		defer c.Close()
		for i := range 4 {
			got, err := c.Get(timeLimit(t), "key").Int()
			require.NoError(t, err)
			require.Equal(t, i+1, got, "the answer is not of a new connection")
			conn := await(t, dials, "the connection")
			stale <- struct{}{}
			awaitInput(t, conn)
		}
	})
}
