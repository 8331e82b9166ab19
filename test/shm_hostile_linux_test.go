//go:build !netconn && !kqsim

package test

// Peers of connections over shared memory that are broken, hostile, or killed.

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/shmring"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// Where the counters of a region are.
const (
	shmSent  = 0
	shmTaken = 64
	shmEnded = 256
)

const hostileRing = 64 << 10

// hostileShm is a client that does all by hand.
type hostileShm struct {
	*net.UnixConn
	mem []byte // its region
}

// sealed returns sealed memory of that size, and its descriptor, which the test closes.
func sealed(t *testing.T, size int) (mem []byte, fd int) {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	require.NoError(t, unix.Fallocate(fd, 0, 0, int64(size)))
	mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_FUTURE_WRITE)
	require.NoError(t, err)
	return mem, fd
}

// dialUnix connects to the socket of a listener.
func dialUnix(t *testing.T, ln net.Listener) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: ln.Addr().String(), Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(testkit.Timeout)))
	return c
}

// hostile connects to ln, and returns the client with the connection that ln has accepted.
func hostile(t *testing.T, ln net.Listener) (*hostileShm, netpoll.Connection) {
	t.Helper()
	h := &hostileShm{UnixConn: dialUnix(t, ln)}
	mem, fd := sealed(t, shmring.Header+hostileRing)
	h.mem = mem
	hello := shmring.Hello{Answer: shmring.Shared, Ring: hostileRing}
	require.NoError(t, second(h.WriteMsgUnix(hello.Encode(), unix.UnixRights(fd), nil)))
	var p [shmring.HelloSize]byte
	oob := make([]byte, 128)
	n, oobn, _, _, err := h.ReadMsgUnix(p[:], oob)
	require.NoError(t, err)
	require.Equal(t, len(p), n)
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	require.NoError(t, err)
	fds, err := unix.ParseUnixRights(&messages[0])
	require.NoError(t, err)
	require.NoError(t, unix.Close(fds[0]))
	accepted, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	h.wake() // as each side does at first
	return h, accepted.(netpoll.Connection)
}

func second(_, _ int, err error) error { return err }

func (h *hostileShm) set(at int, v uint64) { binary.NativeEndian.PutUint64(h.mem[at:], v) }

func (h *hostileShm) wake() { _, _ = h.Write([]byte{1}) }

func TestPeerThatLiesAboutItsCountersEndsItsConnectionOnly(t *testing.T) {
	ln := listenShm(t, netpoll.ShmConfig{})
	for name, lie := range map[string]func(h *hostileShm){
		"more than the ring has": func(h *hostileShm) { h.set(shmSent, hostileRing+1) },
		"far too much":           func(h *hostileShm) { h.set(shmSent, 1<<63) },
		"less than nothing":      func(h *hostileShm) { h.set(shmSent, ^uint64(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			h, conn := hostile(t, ln)
			result := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(1); return err })
			lie(h)
			h.wake()
			err := testkit.Receive(t, result)
			require.ErrorIs(t, err, shmring.ErrCorrupt)
			require.ErrorIs(t, err, netpoll.ErrConnClosed)
			testkit.Eventually(t, func() bool { return !conn.IsActive() })
			_, good := hostile(t, ln)
			require.True(t, good.IsActive())
		})
	}
	t.Run("took what was not sent", func(t *testing.T) {
		h, conn := hostile(t, ln)
		reader := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(1); return err })
		h.set(shmTaken, 1)
		_, err := conn.Write([]byte("x"))
		require.ErrorIs(t, err, shmring.ErrCorrupt)
		require.ErrorIs(t, testkit.Receive(t, reader), shmring.ErrCorrupt, "a reader learns of it, too")
	})
}

// A peer that writes anything anywhere in its region, all the time, cannot do more than send bytes, or end the connection.
func TestPeerThatWritesGarbageHarmsNobody(t *testing.T) {
	s := testnet.ServeOn(t, listenShm(t, netpoll.ShmConfig{}), testnet.Echo)
	rng := rand.New(rand.NewPCG(1, 2))
	other, err := netpoll.DialConnection("shm", s.Listener.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	defer other.Close()
	for range 50 {
		c := dialUnix(t, s.Listener)
		mem, fd := sealed(t, shmring.Header+hostileRing)
		hello := shmring.Hello{Answer: shmring.Shared, Ring: hostileRing}
		require.NoError(t, second(c.WriteMsgUnix(hello.Encode(), unix.UnixRights(fd), nil)))
		for range 100 {
			at := []int{shmSent, shmTaken, 128, 192, shmEnded, shmring.Header}[rng.IntN(6)]
			binary.NativeEndian.PutUint64(mem[at:], rng.Uint64()>>rng.IntN(64))
			_, _ = c.Write([]byte{1})
		}
		require.NoError(t, testkit.RoundTrip(other.(net.Conn), "another connection"))
		require.NoError(t, c.Close())
	}
}

// A peer that is killed has not said that its stream ends: what it has sent arrives, and then an error.
func TestKilledPeerIsNotTheEndOfTheStream(t *testing.T) {
	h, conn := hostile(t, listenShm(t, netpoll.ShmConfig{}))
	copy(h.mem[shmring.Header:], "half a mess")
	h.set(shmSent, 11)
	require.NoError(t, h.Close())
	got, err := io.ReadAll(conn)
	require.Equal(t, "half a mess", string(got))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = conn.Write([]byte("x"))
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
}

// Wake-ups without a reason cost the peer as much as this side, and hold up nothing.
func TestFloodOfWakeUps(t *testing.T) {
	ln := listenShm(t, netpoll.ShmConfig{})
	h, conn := hostile(t, ln)
	require.NoError(t, h.SetDeadline(time.Time{}))
	stop := testkit.Repeat(t, func(int) bool {
		_, err := h.Write(make([]byte, 100)) // it may have to wait: nobody has to read them
		return err == nil
	})
	a, err := netpoll.DialConnection("shm", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	defer a.Close()
	b, err := ln.Accept()
	require.NoError(t, err)
	defer b.Close()
	for range 100 {
		require.NoError(t, testkit.ErrorOf(a.Write([]byte("hello"))))
		_, err := io.ReadFull(b, make([]byte, 5))
		require.NoError(t, err)
	}
	require.True(t, conn.IsActive())
	require.NoError(t, conn.Close())
	stop()
}

func TestGreetingsThatAreWrong(t *testing.T) {
	ln := listenShm(t, netpoll.ShmConfig{})
	good := shmring.Hello{Answer: shmring.Shared, Ring: hostileRing}.Encode()
	changed := func(at int, b byte) []byte {
		p := append([]byte(nil), good...)
		p[at] = b
		return p
	}
	mem := func(size int) int { _, fd := sealed(t, size); return fd }
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	right := mem(shmring.Header + hostileRing)
	for name, greeting := range map[string]struct {
		hello []byte
		fds   []int
	}{
		"no descriptor":           {good, nil},
		"two descriptors":         {good, []int{right, right}},
		"a pipe":                  {good, []int{pipe[0]}},
		"less memory":             {good, []int{mem(shmring.Header + hostileRing/2)}},
		"another version":         {changed(10, 9), []int{right}},
		"an answer of no kind":    {changed(12, 77), []int{right}},
		"a ring of no size":       {changed(16, 1), []int{right}},
		"something at the end":    {changed(31, 1), []int{right}},
		"a refusal":               {shmring.Hello{Answer: shmring.Refused}.Encode(), nil},
		"the socket, not allowed": {shmring.Hello{Answer: shmring.Plain}.Encode(), nil},
	} {
		c := dialUnix(t, ln)
		var rights []byte
		if greeting.fds != nil {
			rights = unix.UnixRights(greeting.fds...)
		}
		require.NoError(t, second(c.WriteMsgUnix(greeting.hello, rights, nil)), name)
		got, err := io.ReadAll(c)
		require.True(t, err == nil || errors.Is(err, syscall.ECONNRESET), "%s: %v", name, err)
		if len(got) > 0 {
			answer, err := shmring.Decode(got)
			require.NoError(t, err, name)
			require.Equal(t, shmring.Refused, answer.Answer, name)
		}
	}
	_, conn := hostile(t, ln)
	require.True(t, conn.IsActive())
}

// Another version is answered, so that its client knows why, and may go on with the socket if both sides allow that.
func TestAnotherVersionIsAnswered(t *testing.T) {
	hello := shmring.Hello{Answer: shmring.Shared, Ring: hostileRing}.Encode()
	hello[10]++
	for fallback, want := range map[bool]shmring.Answer{false: shmring.Refused, true: shmring.Plain} {
		c := dialUnix(t, listenShm(t, netpoll.ShmConfig{Fallback: fallback}))
		_, fd := sealed(t, shmring.Header+hostileRing)
		require.NoError(t, second(c.WriteMsgUnix(hello, unix.UnixRights(fd), nil)))
		p := make([]byte, shmring.HelloSize)
		require.NoError(t, testkit.ErrorOf(io.ReadFull(c, p)))
		answer, err := shmring.Decode(p)
		require.NoError(t, err)
		require.Equal(t, want, answer.Answer)
	}

	for fallback, answer := range map[bool]shmring.Answer{false: shmring.Refused, true: shmring.Plain} {
		ln := testkit.Listen(t, "unix")
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.ReadFull(c, make([]byte, shmring.HelloSize))
			hello := shmring.Hello{Answer: answer}.Encode()
			hello[10]++
			_, _ = c.Write(append(hello, "and more"...))
			_, _ = c.Read(make([]byte, 1))
		}()
		dialer := &netpoll.ShmDialer{Config: netpoll.ShmConfig{Fallback: fallback}}
		conn, err := dialer.DialConnection("shm", ln.Addr().String(), testkit.Timeout)
		if !fallback {
			require.ErrorIs(t, err, shmring.ErrVersion)
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			continue
		}
		require.NoError(t, err)
		got, err := conn.Reader().ReadString(8)
		require.NoError(t, err)
		require.Equal(t, "and more", got)
		require.NoError(t, conn.Close())
	}
}

// Nothing is left of connections that have ended: no descriptor, and no mapped memory.
func TestSharedMemoryLeavesNothing(t *testing.T) {
	ln := listenShm(t, netpoll.ShmConfig{RingSize: 4 << 10})
	cycle := func() {
		a, err := netpoll.DialConnection("shm", ln.Addr().String(), testkit.Timeout)
		require.NoError(t, err)
		b, err := ln.Accept()
		require.NoError(t, err)
		require.NoError(t, testkit.ErrorOf(a.Write([]byte("hello"))))
		require.NoError(t, b.Close())
		require.NoError(t, a.Close())
	}
	cycle()
	fds, maps := openDescriptors(t), sharedMaps(t)
	for range 200 {
		cycle()
	}
	testkit.Eventually(t, func() bool { return openDescriptors(t) <= fds && sharedMaps(t) <= maps })
}

// sharedMaps counts the mapped regions of this process.
func sharedMaps(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Count(string(maps), "/memfd:netpoll")
}
