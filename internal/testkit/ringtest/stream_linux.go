package ringtest

// This file sends streams through rings that fail at random, and compares the received bytes with the sent ones.

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stream is one direction of a connection, with the bytes to send and the bytes received.
type stream struct {
	sender, receiver int
	want, got        []byte
	rest             []byte // of the message being sent
}

// Rings fail at random. A caller that follows the rules must not lose or repeat a byte.
func (k Kind) streamsSurviveRandomFaults(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		streams := make([]*stream, 6)
		for i := range streams {
			streams[i] = &stream{}
			streams[i].sender, streams[i].receiver = NewPair(t, networks[i%2])
			// Small enough for short sends, and not so small that TCP waits for delayed acknowledgements.
			size := []int{4096, 32 << 10}[i%2]
			require.NoError(t, unix.SetsockoptInt(streams[i].sender, unix.SOL_SOCKET, unix.SO_SNDBUF, size))
		}
		var ring Ring
		broken, plain := 0, 0
		for range 300 {
			if ring == nil {
				ring = k.ring(t, 4) // less than a batch
				k.Intercept(ring, randomFaults(rng))
			}
			err := k.randomBatch(t, rng, ring, streams, &plain)
			if err != nil {
				broken++
				ring = nil
			}
		}
		for i, s := range streams {
			require.NoError(t, unix.Shutdown(s.sender, unix.SHUT_WR))
			s.got = append(s.got, drainAll(t, s.receiver)...)
			s.want = s.want[:len(s.want)-len(s.rest)]
			require.True(t, bytes.Equal(s.want, s.got), "seed %d, stream %d: %d bytes sent, %d received",
				seed, i, len(s.want), len(s.got))
		}
		require.Positive(t, broken, "seed %d", seed)
		require.Positive(t, plain, "seed %d", seed)
	}
}

// randomFaults fails before or after a part of the work, mostly with errors that do not break the ring.
func randomFaults(rng *rand.Rand) Play {
	errnos := []unix.Errno{0, 0, unix.EAGAIN, unix.EAGAIN, unix.EINTR, unix.EBUSY, unix.ENXIO}
	stuck := false
	return func(_, want int, do func(int) (int, unix.Errno)) (int, unix.Errno) {
		if rng.IntN(3) > 0 && !stuck {
			return do(want)
		}
		if stuck = rng.IntN(20) > 0; stuck && rng.IntN(2) == 0 {
			return -1, unix.EAGAIN
		}
		n, errno := do(rng.IntN(want + 1))
		if injected := errnos[rng.IntN(len(errnos))]; injected != 0 {
			return -1, injected
		}
		return n, errno
	}
}

// randomBatch sends on some streams and receives on others through the ring. It executes with plain calls what the ring
// did not execute.
func (k Kind) randomBatch(t *testing.T, rng *rand.Rand, ring Ring, streams []*stream, plain *int) error {
	type queued struct {
		s    *stream
		buf  []byte
		send bool
	}
	var batch []queued
	for _, i := range rng.Perm(len(streams)) {
		q := queued{s: streams[i], send: rng.IntN(2) == 0}
		ok := false
		if q.send {
			if len(q.s.rest) == 0 {
				q.s.rest = make([]byte, 1+rng.IntN(20_000))
				for j := range q.s.rest {
					q.s.rest[j] = byte(rng.Uint32())
				}
				q.s.want = append(q.s.want, q.s.rest...)
			}
			q.buf = q.s.rest
			ok = ring.Send(q.s.sender, q.buf, uint64(len(batch)))
		} else {
			q.buf = make([]byte, 1+rng.IntN(20_000))
			ok = ring.Recv(q.s.receiver, q.buf, uint64(len(batch)))
		}
		if ok {
			batch = append(batch, q)
		}
	}
	return ring.Submit(func(tag uint64, res int32) {
		q := batch[tag]
		if res == k.NotExecuted {
			*plain++
			res = plainCall(q.send, q.s, q.buf)
		}
		switch {
		case res == -int32(unix.EAGAIN):
		case res <= 0:
			t.Fatalf("operation %d: %d", tag, res)
		case q.send:
			q.s.rest = q.s.rest[res:]
		default:
			q.s.got = append(q.s.got, q.buf[:res]...)
		}
	})
}

func plainCall(send bool, s *stream, p []byte) int32 {
	var n int
	var err error
	if send {
		n, err = unix.Write(s.sender, p)
	} else {
		n, err = unix.Read(s.receiver, p)
	}
	if err != nil {
		return -int32(err.(unix.Errno))
	}
	return int32(n)
}

// drainAll receives to the end of the stream.
func drainAll(t *testing.T, fd int) (all []byte) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		WaitReadable(t, fd)
		n, err := unix.Read(fd, buf)
		require.NoError(t, err)
		if n == 0 {
			return all
		}
		all = append(all, buf[:n]...)
	}
}
