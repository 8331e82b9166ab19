//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// program is the variable that makes the test be the program.
const program = "RESTART_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(program) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// ask makes one request, and returns the number of the process that answered.
func ask(addr string) (process int, err error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(line, "hello, says %d", &process)
	return process, err
}

// TestNoRequestIsLostByRestarts restarts the server twice under requests.
func TestNoRequestIsLostByRestarts(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	first := exec.Command(self)
	first.Env = append(os.Environ(), program+"=yes")
	first.Stderr = os.Stderr
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	first.Stdout = in
	first.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the group has all that come after it
	require.NoError(t, first.Start())
	defer syscall.Kill(-first.Process.Pid, syscall.SIGKILL) // if the test fails
	in.Close()
	printed := bufio.NewReader(out)
	said, err := printed.ReadString('\n')
	require.NoError(t, err)
	addr := said[strings.LastIndex(said, " ")+1 : len(said)-1]

	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				if _, err := ask(addr); err != nil {
					t.Errorf("a request is lost: %v", err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	process := first.Process.Pid
	for range 2 {
		require.NoError(t, syscall.Kill(process, syscall.SIGHUP))
		said, err := printed.ReadString('\n')
		require.NoError(t, err)
		before := process
		_, err = fmt.Sscanf(said, "%d: listening", &process)
		require.NoError(t, err)
		require.NotEqual(t, before, process)
		for limit := time.Now().Add(patience); ; {
			who, err := ask(addr)
			require.NoError(t, err)
			if who == process {
				break
			}
			require.True(t, time.Now().Before(limit), "%d answers, not %d", who, process)
		}
	}
	require.NoError(t, first.Wait())
	close(stop)
	clients.Wait()
	require.NoError(t, syscall.Kill(process, syscall.SIGTERM))
	rest, err := io.ReadAll(printed) // until the last process has ended
	require.NoError(t, err)
	require.Empty(t, string(rest))
}
