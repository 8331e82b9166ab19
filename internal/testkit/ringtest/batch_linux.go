package ringtest

// This file tests batches on a kernel without faults: results, order, limits, and several users.

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func (k Kind) batchOfAnySizeMovesEachMessage(t *testing.T) {
	for _, network := range networks {
		for _, n := range []int{1, 3, 64} {
			t.Run(fmt.Sprintf("%s/%d", network, n), func(t *testing.T) {
				ring := k.ring(t, uint32(n))
				var want []int32
				receivers, bufs := make([]int, n), make([][]byte, n)
				for i := range n {
					var sender int
					sender, receivers[i] = NewPair(t, network)
					message := []byte(fmt.Sprintf("message %d", i))
					require.True(t, ring.Send(sender, message, uint64(i)))
					want = append(want, int32(len(message)))
				}
				require.Equal(t, n, ring.Len())
				results, err := Submit(t, ring)
				require.NoError(t, err)
				require.Equal(t, want, results)

				for i, fd := range receivers {
					WaitReadable(t, fd)
					bufs[i] = make([]byte, 64)
					require.True(t, ring.Recv(fd, bufs[i], uint64(i)))
				}
				results, err = Submit(t, ring)
				require.NoError(t, err)
				require.Equal(t, want, results)
				for i, p := range bufs {
					require.Equal(t, fmt.Sprintf("message %d", i), string(p[:results[i]]))
				}
			})
		}
	}
}

func (k Kind) fullRingRefusesAndTakesTheRestAfterSubmit(t *testing.T) {
	ring := k.ring(t, 4)
	require.Equal(t, 4, ring.Cap())
	sender, receiver := NewPair(t, "unix")
	const total = 19
	sent, batches := 0, 0
	for sent < total {
		queued := 0
		for sent+queued < total && ring.Send(sender, []byte{byte(sent + queued)}, uint64(queued)) {
			queued++
		}
		require.Equal(t, min(4, total-sent), queued)
		results, err := Submit(t, ring)
		require.NoError(t, err)
		require.Len(t, results, queued)
		sent += queued
		batches++
	}
	require.Equal(t, 5, batches)
	for i, b := range Drain(t, receiver) {
		require.EqualValues(t, i, b, "operations on one socket run in the order queued")
	}
}

func (k Kind) resultsAreThoseOfPlainCalls(t *testing.T) {
	buf := make([]byte, 16)
	for _, network := range networks {
		for _, c := range []struct {
			name    string
			unread  string // sent to the peer beforehand
			prepare func(t *testing.T, peer int)
			recv    int32
			send    int32
		}{
			{"nothing to receive", "", func(*testing.T, int) {}, -int32(unix.EAGAIN), 4},
			{"peer stops sending", "", func(t *testing.T, peer int) {
				require.NoError(t, unix.Shutdown(peer, unix.SHUT_WR))
			}, 0, 4},
			{"peer has less than asked", "", func(t *testing.T, peer int) {
				_, err := unix.Write(peer, []byte("little"))
				require.NoError(t, err)
			}, 6, 4},
			{"peer has more than asked", "", func(t *testing.T, peer int) {
				_, err := unix.Write(peer, make([]byte, 100))
				require.NoError(t, err)
			}, 16, 4},
			{"peer resets", "never read", func(t *testing.T, peer int) {
				if network == "tcp" {
					linger := unix.Linger{Onoff: 1}
					require.NoError(t, unix.SetsockoptLinger(peer, unix.SOL_SOCKET, unix.SO_LINGER, &linger))
				}
				CloseEnd(t, peer) // with unread bytes: so a Unix socket resets
			}, -int32(unix.ECONNRESET), -int32(unix.EPIPE)},
		} {
			t.Run(network+"/"+c.name, func(t *testing.T) {
				ring := k.ring(t, 2)
				fd, peer := NewPair(t, network)
				_, err := unix.Write(fd, []byte(c.unread))
				require.NoError(t, err)
				c.prepare(t, peer)
				if c.recv != -int32(unix.EAGAIN) {
					WaitReadable(t, fd)
				}
				require.True(t, ring.Recv(fd, buf, 0))
				require.True(t, ring.Send(fd, []byte("data"), 1))
				results, err := Submit(t, ring)
				require.NoError(t, err)
				require.Equal(t, []int32{c.recv, c.send}, results)
			})
		}
	}
}

func (k Kind) badDescriptorFailsAloneInItsBatch(t *testing.T) {
	ring := k.ring(t, 4)
	sender, receiver := NewPair(t, "unix")
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	ring.Send(sender, []byte("a"), 0)
	ring.Send(-1, []byte("b"), 1)
	ring.Recv(pipe[0], make([]byte, 1), 2)
	ring.Send(sender, []byte("c"), 3)
	results, err := Submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{1, -int32(unix.EBADF), k.Pipe, 1}, results)
	require.Equal(t, "ac", string(Drain(t, receiver)))
}

// All duplicates of a socket share its blocking mode.
func (k Kind) socketMadeBlockingDoesNotWait(t *testing.T) {
	for _, network := range networks {
		ring := k.ring(t, 2)
		fd, _ := NewPair(t, network)
		FillSocket(t, fd)
		require.NoError(t, unix.SetNonblock(fd, false))
		require.True(t, ring.Recv(fd, make([]byte, 8), 0))
		require.True(t, ring.Send(fd, make([]byte, 1<<20), 1))
		results, err := Submit(t, ring)
		require.NoError(t, err)
		require.Equal(t, []int32{-int32(unix.EAGAIN), -int32(unix.EAGAIN)}, results)
	}
}

func (k Kind) shortSendSaysExactlyWhatThePeerGets(t *testing.T) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			ring := k.ring(t, 2)
			sender, receiver := NewPair(t, network)
			require.NoError(t, unix.SetsockoptInt(sender, unix.SOL_SOCKET, unix.SO_SNDBUF, 8192))
			data := make([]byte, 16<<20)
			for i := range data {
				data[i] = byte(i * 7 / 3)
			}
			var got []byte
			short, full := 0, 0
			for sent := 0; sent < len(data); {
				require.True(t, ring.Send(sender, data[sent:], 0))
				results, err := Submit(t, ring)
				require.NoError(t, err)
				switch res := results[0]; {
				case res == -int32(unix.EAGAIN):
					full++
					got = append(got, Drain(t, receiver)...)
					WaitWritable(t, sender)
				default:
					require.Positive(t, res)
					sent += int(res)
					short++
				}
				if full == 20 { // the rest would show nothing new
					data = data[:sent]
				}
			}
			for len(got) < len(data) {
				WaitReadable(t, receiver)
				got = append(got, Drain(t, receiver)...)
			}
			require.Greater(t, short, 1)
			require.Positive(t, full)
			require.True(t, bytes.Equal(data, got), "%d bytes sent, %d received", len(data), len(got))
		})
	}
}

func (k Kind) emptyBatchDoesNotEnterTheKernel(t *testing.T) {
	ring := k.ring(t, 2)
	calls := k.Intercept(ring, work)
	results, err := Submit(t, ring)
	require.NoError(t, err)
	require.Empty(t, results)
	require.Zero(t, *calls)
}

func (k Kind) oneBatchIsOneCall(t *testing.T) {
	ring := k.ring(t, 64)
	calls := k.Intercept(ring, work)
	fd, _ := NewPair(t, "tcp")
	for i := range 64 {
		ring.Recv(fd, make([]byte, 8), uint64(i))
	}
	_, err := Submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, 1, *calls)
}

func (k Kind) doneMayQueueAndSubmitTheNextBatch(t *testing.T) {
	ring := k.ring(t, 2)
	a, b := NewPair(t, "unix")
	var got []string
	buf := make([]byte, 8)
	require.True(t, ring.Send(a, []byte("one"), 1))
	require.True(t, ring.Send(a, []byte("two"), 2))
	require.NoError(t, ring.Submit(func(tag uint64, _ int32) {
		got = append(got, fmt.Sprint("sent ", tag))
		if tag == 1 {
			require.True(t, ring.Recv(b, buf, 3))
			require.NoError(t, ring.Submit(func(tag uint64, res int32) {
				got = append(got, fmt.Sprint("received ", tag, " ", string(buf[:res])))
			}))
		} else {
			require.True(t, ring.Send(a, []byte("later"), 4))
		}
	}))
	require.Equal(t, []string{"sent 1", "received 3 onetwo", "sent 2"}, got)
	require.Equal(t, 1, ring.Len())
	require.NoError(t, ring.Submit(func(tag uint64, res int32) {
		require.EqualValues(t, 4, tag)
		require.EqualValues(t, 5, res)
	}))
	require.Equal(t, "later", string(Drain(t, b)))
}

func (k Kind) submitAllocatesNothing(t *testing.T) {
	ring := k.ring(t, 8)
	a, b := NewPair(t, "unix")
	p, q := make([]byte, 64), make([]byte, 64)
	wrong := 0
	done := func(_ uint64, res int32) {
		if res != 64 {
			wrong++
		}
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		ring.Send(a, p, 0)
		ring.Recv(b, q, 1)
		if err := ring.Submit(done); err != nil {
			wrong++
		}
	}))
	require.Zero(t, wrong)
}

func (k Kind) manyGoroutinesShareARingUnderALock(t *testing.T) {
	ring := k.ring(t, 4)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 8 {
		sender, receiver := NewPair(t, "unix")
		wg.Go(func() {
			buf := make([]byte, 64)
			for i := range 200 {
				message := fmt.Sprintf("goroutine %d, message %d", g, i)
				var sent, received int32
				mu.Lock()
				ring.Send(sender, []byte(message), 0)
				ring.Recv(receiver, buf, 1)
				err := ring.Submit(func(tag uint64, res int32) {
					if tag == 0 {
						sent = res
					} else {
						received = res
					}
				})
				mu.Unlock()
				if err != nil || int(sent) != len(message) || string(buf[:max(received, 0)]) != message {
					t.Errorf("%q: sent %d, received %d, %v", message, sent, received, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The race detector must see that a receive happens after the send of the same bytes. Otherwise it fails this test.
func (k Kind) bytesThroughRingsOrderMemory(t *testing.T) {
	a, b := NewPair(t, "unix")
	sending, receiving := k.ring(t, 2), k.ring(t, 2)
	published := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		published = 42
		sending.Send(a, []byte("x"), 0)
		if err := sending.Submit(func(uint64, int32) {}); err != nil {
			t.Error(err)
		}
	})
	WaitReadable(t, b)
	require.True(t, receiving.Recv(b, make([]byte, 1), 0))
	results, err := Submit(t, receiving)
	require.NoError(t, err)
	require.Equal(t, []int32{1}, results)
	require.Equal(t, 42, published)
	wg.Wait()
}
