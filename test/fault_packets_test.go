//go:build faults && linux && !netconn && !kqsim

package test

// Datagrams while system calls fail: none is lost or sent twice, and what can go on does.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// failNth fails the nth call of op, counted from 0, and returns the sizes of all its calls.
func failNth(t *testing.T, op fault.Op, nth int, limit int, errno syscall.Errno) (sizes func() []int) {
	var mu sync.Mutex
	var list []int
	hookFaults(t, func(called fault.Op, size int) (int, syscall.Errno) {
		if called != op {
			return size, 0
		}
		mu.Lock()
		defer mu.Unlock()
		list = append(list, size)
		if len(list)-1 == nth {
			return limit, errno
		}
		return size, 0
	})
	return func() []int {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

// equal returns n packets of one size.
func equal(n, size int, to *netpoll.UDPConn) []netpoll.Packet {
	list := make([]netpoll.Packet, n)
	for i := range list {
		list[i] = netpoll.Packet{Data: make([]byte, size), Addr: addressOf(to)}
		list[i].Data[0] = byte(i)
	}
	return list
}

func expectPackets(t *testing.T, conn *netpoll.UDPConn, want []netpoll.Packet) {
	t.Helper()
	for i, p := range readAll(t, conn, len(want)) {
		require.Equal(t, string(want[i].Data), string(p.Data), "datagram %d", i)
	}
	require.NoError(t, conn.SetReadDeadline(time.Now()))
	defer conn.SetReadDeadline(time.Now().Add(testkit.Timeout))
	_, err := conn.ReadBatch(rooms(1, 10))
	require.Error(t, err, "nothing comes twice")
}

func TestTortureSegmentsThatAreRefusedAreSentOneByOne(t *testing.T) {
	if !netpoll.Features().GSO {
		return
	}
	for _, c := range []struct {
		errno       syscall.Errno
		size        int
		same, lower []int // messages for 20 packets of that size, and of 1200 bytes, afterwards
	}{
		{syscall.EIO, 1300, []int{20}, []int{20}},
		{syscall.EINVAL, 1300, []int{20}, []int{1}},
		{syscall.EMSGSIZE, 1300, []int{20}, []int{1}},
		{syscall.EINVAL, 700, []int{20}, []int{20}},
		// Not for the cutting: the first packet by itself fails in the same way, and so says WriteBatch.
		{syscall.ENOBUFS, 700, []int{1}, []int{1}},
		{syscall.EPERM, 700, []int{1}, []int{1}},
	} {
		t.Run(fmt.Sprintf("%v/%d", c.errno, c.size), func(t *testing.T) {
			a, b := listenPackets(t, "udp4", "127.0.0.1:0"), listenPackets(t, "udp4", "127.0.0.1:0", netpoll.WithPacketReadBuffer(1<<20))
			calls := failNth(t, fault.SendPackets, 0, 1, c.errno)
			out := equal(20, c.size, b)
			sent, err := a.WriteBatch(out)
			if len(c.same) == 1 && c.same[0] == 20 {
				require.NoError(t, err)
				require.Equal(t, 20, sent)
				require.Equal(t, []int{1, 20}, calls())
			} else {
				require.ErrorIs(t, err, c.errno)
				require.Zero(t, sent)
				sent, err = a.WriteBatch(out)
				require.NoError(t, err)
				require.Equal(t, 20, sent)
			}
			expectPackets(t, b, out)
			for size, want := range map[int][]int{c.size: c.same, min(c.size, 1200): c.lower} {
				calls := failNth(t, fault.SendPackets, -1, 0, 0)
				_, err = a.WriteBatch(equal(20, size, b))
				require.NoError(t, err)
				require.Equal(t, want, calls(), "size %d", size)
				readAll(t, b, 20)
			}
		})
	}
}

// A refusal that single packets meet, too, is not taken for one of the cutting.
func TestTortureErrorOfPacketsSwitchesNothingOff(t *testing.T) {
	if !netpoll.Features().GSO {
		return
	}
	a, b := listenPackets(t, "udp4", "127.0.0.1:0"), listenPackets(t, "udp4", "127.0.0.1:0")
	hookFaults(t, func(op fault.Op, size int) (int, syscall.Errno) {
		if op == fault.SendPackets {
			return 0, syscall.EINVAL
		}
		return size, 0
	})
	sent, err := a.WriteBatch(equal(20, 700, b))
	require.ErrorIs(t, err, syscall.EINVAL)
	require.Zero(t, sent)
	calls := failNth(t, fault.SendPackets, -1, 0, 0)
	_, err = a.WriteBatch(equal(20, 700, b))
	require.NoError(t, err)
	require.Equal(t, []int{1}, calls())
}

// A program that tries what failed again has sent, or received, each datagram once, in order.
func TestTortureBatchesGoOnAfterAFailingCall(t *testing.T) {
	const short = syscall.Errno(0)
	for op, errnos := range map[fault.Op][]syscall.Errno{
		fault.SendPackets: {short, syscall.EINTR, syscall.ECONNREFUSED, syscall.ENOBUFS, syscall.EPERM, syscall.EIO, syscall.EINVAL},
		fault.RecvPackets: {short, syscall.EINTR, syscall.ECONNREFUSED, syscall.ENOMEM},
	} {
		for _, errno := range errnos {
			for nth := range 4 {
				t.Run(fmt.Sprintf("%v/%d/%d", op, int(errno), nth), func(t *testing.T) {
					offloadedAs(t, func(t *testing.T, send, receive netpoll.PacketOption) {
						a := listenPackets(t, "udp4", "127.0.0.1:0", send)
						b := listenPackets(t, "udp4", "127.0.0.1:0", receive, netpoll.WithPacketReadBuffer(1<<20))
						failNth(t, op, nth, 1, errno)
						out := mixed(addressOf(b))
						failed := 0
						for sent := 0; sent < len(out); {
							n, err := a.WriteBatch(out[sent:])
							if sent += n; err != nil {
								require.ErrorIs(t, err, errno)
								failed++
							}
						}
						for next := 0; next < len(out); {
							packets := rooms(min(64, len(out)-next), 2000)
							n, err := b.ReadBatch(packets)
							if err != nil {
								require.ErrorIs(t, err, errno)
								failed++
							}
							for _, p := range packets[:n] {
								require.Equal(t, string(out[next].Data), string(p.Data), "datagram %d", next)
								next++
							}
						}
						require.LessOrEqual(t, failed, 1)
					})
				})
			}
		}
	}
}

// A loop survives what does not end its socket, and loses nothing.
func TestTorturePacketLoopGoesOn(t *testing.T) {
	for _, errno := range []syscall.Errno{0, syscall.EINTR, syscall.ECONNREFUSED, syscall.ENOMEM, syscall.ENOBUFS} {
		t.Run(fmt.Sprint(int(errno)), func(t *testing.T) {
			got := make(chan string, 1000)
			var calls atomic.Int64
			hookFaults(t, func(op fault.Op, size int) (int, syscall.Errno) {
				switch {
				case op == fault.Setsockopt:
					return 0, syscall.EINVAL // joining is not to be had
				case op == fault.RecvPackets && calls.Add(1)%3 == 0:
					return 1, errno
				}
				return size, 0
			})
			s := servePackets(t, packetConns["UDPConn"](t), func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
				for _, p := range packets {
					got <- string(p.Data)
				}
				return nil
			})
			c := packetClient(t, s.addr)
			for i := range 100 {
				text := fmt.Sprintf("datagram %d", i)
				_, err := c.Write([]byte(text))
				require.NoError(t, err)
				require.Equal(t, text, testkit.Receive(t, got))
			}
			require.Greater(t, calls.Load(), int64(3))
		})
	}
}

func TestTorturePacketLoopEndsWithItsSocket(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EBADF, syscall.EINVAL, syscall.EFAULT} {
		s := servePackets(t, packetConns["UDPConn"](t), echoPackets)
		c := packetClient(t, s.addr)
		expectPacketEcho(t, c, "hello")
		hookFaults(t, func(op fault.Op, size int) (int, syscall.Errno) {
			if op == fault.RecvPackets {
				return 0, errno
			}
			return size, 0
		})
		_, err := c.Write([]byte("x"))
		require.NoError(t, err)
		err = testkit.Receive(t, s.serve)
		require.ErrorIs(t, err, errno)
		var op *net.OpError
		require.True(t, errors.As(err, &op))
		fault.SetHook(nil)
	}
}
