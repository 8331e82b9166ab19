//go:build !netconn

package test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// A receive does not wait in the kernel, whatever mode others have given to the socket. The scheduler does not know of
// the call, so that the whole process would stop with it: the first thing to wait for it is the garbage collector.
func TestReceiveOnBlockingSocketDoesNotWait(t *testing.T) {
	const wait = 5 * time.Second // until something arrives that would end the waiting
	fd, peer := netpoll.GetSysFdPairs()
	file := os.NewFile(uintptr(peer), "peer")
	defer file.Close()
	conn, err := netpoll.NewFDConnection(fd)
	require.NoError(t, err)
	defer conn.Close()
	// Otherwise the library peeks first, and no receive finds an empty socket.
	require.NoError(t, conn.(*netpoll.UnixConnection).KeepDescriptors(false))
	require.NoError(t, unix.SetNonblock(fd, false))

	// Another process, since nothing of this one could run.
	cmd := exec.Command("sh", "-c", fmt.Sprintf("sleep %d; echo >&3", wait/time.Second))
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	defer func() {
		require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
		_ = cmd.Wait() // says that it was killed
	}()

	start := time.Now()
	_, err = file.Write(testkit.Pattern(4096)) // fills the first receive, so that a second one finds nothing
	require.NoError(t, err)
	testnet.Buffered(t, conn, 4096)
	for range 10 { // the second one has begun at one of them, if it has not stopped what came before
		runtime.GC()
	}
	require.Less(t, time.Since(start), wait/2, "the world could not be stopped")
}
