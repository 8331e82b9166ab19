//go:build !netconn && !kqsim

package test

// Processes at the other end of shared memory that are killed, and what is left of them.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// shmPeerAddress is the variable that makes the test below a process at the other end.
const shmPeerAddress = "NETPOLL_TEST_SHM_PEER"

// TestBeAPeerOfSharedMemory is that process, and by itself shows that such a process ends with its input. It dials, sends
// and receives over several connections, and makes new ones all the time.
func TestBeAPeerOfSharedMemory(t *testing.T) {
	addr := os.Getenv(shmPeerAddress)
	if addr == "" {
		s := testnet.ServeOn(t, listenShm(t, netpoll.ShmConfig{}), testnet.Echo)
		peer := startShmPeer(t, s.Listener.Addr().String())
		require.NoError(t, peer.in.Close())
		require.NoError(t, peer.Wait())
		return
	}
	var all sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		all.Go(func() { beShmPeer(addr, stop, rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(i)))) })
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(stop)
	all.Wait()
}

// beShmPeer uses connections until stop is closed. Errors are none of its business: the other side ends, too.
func beShmPeer(addr string, stop chan struct{}, random *rand.Rand) {
	dialer := &netpoll.ShmDialer{Config: netpoll.ShmConfig{RingSize: 4 << 10}}
	for {
		conn, err := dialer.DialTimeout("shm", addr, testkit.Timeout)
		if err != nil {
			return
		}
		end := time.AfterFunc(testkit.Timeout, func() { conn.Close() })
		for range random.IntN(20) {
			p := testkit.Pattern(1 + random.IntN(20_000))
			go func() { _, _ = conn.Write(p) }()
			if _, err := io.ReadFull(conn, make([]byte, len(p))); err != nil {
				break
			}
		}
		end.Stop()
		_ = conn.Close()
		select {
		case <-stop:
			return
		default:
		}
	}
}

// shmPeer is such a process.
type shmPeer struct {
	*exec.Cmd
	in io.Closer
}

func startShmPeer(t *testing.T, addr string) *shmPeer {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBeAPeerOfSharedMemory$")
	cmd.Env = append(os.Environ(), shmPeerAddress+"="+addr)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return &shmPeer{cmd, in}
}

// shmRounds returns how often a test does what it does: few times, or as NETPOLL_SHM_ROUNDS says.
func shmRounds(t *testing.T, few int) int {
	s := os.Getenv("NETPOLL_SHM_ROUNDS")
	if s == "" {
		return few
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// shmFiles counts what is in /dev/shm.
func shmFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/dev/shm")
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	return len(list)
}

// shmEcho serves an echo over shared memory, and returns its address and a connection that works.
func shmEcho(t *testing.T) (addr string, good netpoll.Connection) {
	t.Helper()
	s := testnet.ServeOn(t, listenShm(t, netpoll.ShmConfig{RingSize: 4 << 10}), testnet.Echo)
	addr = s.Listener.Addr().String()
	good, err := netpoll.DialConnection("shm", addr, testkit.Timeout)
	require.NoError(t, err)
	t.Cleanup(func() { good.Close() })
	require.NoError(t, testkit.RoundTrip(good.(net.Conn), "before"))
	return addr, good
}

// Peers are killed at random moments: while they dial, agree, send, receive and close. Nothing is left of them, and others
// are served meanwhile.
func TestKilledProcessesLeaveNothing(t *testing.T) {
	addr, good := shmEcho(t)
	sockets, maps, files := countFiles("socket:"), sharedMaps(t), shmFiles(t)
	random := rand.New(rand.NewPCG(1, 3))
	for range shmRounds(t, 5) {
		peer := startShmPeer(t, addr)
		<-time.After(time.Duration(random.IntN(30_000)) * time.Microsecond) // a random moment: any will do
		require.NoError(t, peer.Process.Signal(syscall.SIGKILL))
		require.Error(t, peer.Wait())
		require.NoError(t, testkit.RoundTrip(good.(net.Conn), "another connection"))
	}
	testkit.Eventually(t, func() bool {
		return countFiles("socket:") <= sockets && countFiles("/memfd:netpoll") == 0 && sharedMaps(t) <= maps
	},
		"what killed processes had is gone")
	require.LessOrEqual(t, shmFiles(t), files)
}

// A process at its limit of descriptors fails to dial, and goes on when there are some again. What is open stays so.
func TestSharedMemoryAtTheLimitOfDescriptors(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	addr, good := shmEcho(t)
	maps := sharedMaps(t)
	files := exhaust(t)
	for n := range 8 { // none, and too few: the limit is met at each step of the set-up
		conn, err := netpoll.DialConnection("shm", addr, testkit.Short)
		if err == nil {
			conn.Close()
		} else {
			require.Nil(t, conn)
		}
		if n == 0 {
			require.ErrorIs(t, err, syscall.EMFILE)
		}
		require.NoError(t, testkit.RoundTrip(good.(net.Conn), "meanwhile"))
		files = files.free(t, 1)
	}
	files.free(t, len(files))
	testkit.Eventually(t, func() bool {
		conn, err := netpoll.DialConnection("shm", addr, testkit.Timeout)
		if err != nil {
			return false
		}
		defer conn.Close()
		return testkit.RoundTrip(conn.(net.Conn), "after") == nil
	}, "connections are possible again")
	testkit.Eventually(t, func() bool { return sharedMaps(t) <= maps }, "nothing is left of those that have failed")
}

// Many connections, one after the other and at once, leave nothing: NETPOLL_SHM_ROUNDS=10000 makes them ten thousand.
func TestManyConnectionsOverSharedMemoryLeaveNothing(t *testing.T) {
	s := testnet.ServeOn(t, listenShm(t, netpoll.ShmConfig{RingSize: 4 << 10}), testnet.Echo)
	addr := s.Listener.Addr().String()
	dialer := &netpoll.ShmDialer{Config: netpoll.ShmConfig{RingSize: 4 << 10}}
	use := func() error {
		conn, err := dialer.DialTimeout("shm", addr, testkit.Timeout)
		if err != nil {
			return err
		}
		return errors.Join(testkit.RoundTrip(conn, "hello"), conn.Close())
	}
	require.NoError(t, use())
	sockets, maps, files := countFiles("socket:"), sharedMaps(t), shmFiles(t)
	var all sync.WaitGroup
	rounds := shmRounds(t, 400)
	for i := range 8 {
		all.Go(func() {
			for n := i; n < rounds; n += 8 {
				if err := use(); err != nil {
					t.Errorf("connection %d: %v", n, err)
				}
			}
		})
	}
	all.Wait()
	testkit.Eventually(t, func() bool {
		return countFiles("socket:") <= sockets && countFiles("/memfd:netpoll") == 0 && sharedMaps(t) <= maps
	})
	require.LessOrEqual(t, shmFiles(t), files)
	t.Logf("%d connections; sockets %d, then %d; maps %d, then %d; in /dev/shm %d, then %d", rounds,
		sockets, countFiles("socket:"), maps, sharedMaps(t), files, shmFiles(t))
}
