//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// The names and texts of errors: the package's own names, those of the standard library, and the texts that programs
// match.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 2.1: the eight codes, their texts, and how Exception adds a suffix.
func TestExceptionTextIsTableTextAndSuffix(t *testing.T) {
	for _, c := range []struct {
		code  syscall.Errno
		value uintptr
		text  string
	}{
		{netpoll.ErrConnClosed, 0x101, "connection has been closed"},
		{netpoll.ErrReadTimeout, 0x102, "connection read timeout"},
		{netpoll.ErrDialTimeout, 0x103, "dial wait timeout"},
		{netpoll.ErrDialNoDeadline, 0x104, "dial no deadline"},
		{netpoll.ErrUnsupported, 0x105, "netpoll does not support"},
		{netpoll.ErrEOF, 0x106, "EOF"},
		{netpoll.ErrWriteTimeout, 0x107, "connection write timeout"},
		{netpoll.ErrConcurrentAccess, 0x108, "concurrent connection access"},
	} {
		require.Equal(t, c.value, uintptr(c.code), c.text)
		err := netpoll.Exception(c.code, "while testing")
		require.EqualError(t, err, c.text+" while testing")
		require.ErrorIs(t, err, c.code)
		require.EqualError(t, netpoll.Exception(c.code, ""), c.text)
	}
}

// Behaviour 2.2: ErrEOF implies ErrConnClosed, not the reverse; errnos stay visible.
func TestExceptionKeepsTheNamesThatProgramsMatch(t *testing.T) {
	eof := netpoll.Exception(netpoll.ErrEOF, "x")
	require.ErrorIs(t, eof, netpoll.ErrConnClosed)
	require.NotErrorIs(t, netpoll.Exception(netpoll.ErrConnClosed, "x"), netpoll.ErrEOF)
	for _, errno := range []syscall.Errno{syscall.EPIPE, syscall.ECONNRESET} {
		err := netpoll.Exception(errno, "x")
		require.ErrorIs(t, err, errno)
		require.ErrorIs(t, fmt.Errorf("around: %w", err), errno)
		require.EqualError(t, err, errno.Error()+" x")
	}
}

// Behaviour 2.3: every code also answers to its standard name.
func TestExceptionAnswersToStandardNames(t *testing.T) {
	for _, c := range []struct {
		code    syscall.Errno
		is      error
		timeout bool
	}{
		{netpoll.ErrEOF, netpoll.ErrConnClosed, false},
		{netpoll.ErrConnClosed, net.ErrClosed, false},
		{netpoll.ErrReadTimeout, os.ErrDeadlineExceeded, true},
		{netpoll.ErrWriteTimeout, os.ErrDeadlineExceeded, true},
		{netpoll.ErrDialTimeout, os.ErrDeadlineExceeded, true},
		{syscall.ECONNRESET, syscall.ECONNRESET, false},
	} {
		err := netpoll.Exception(c.code, "x")
		require.ErrorIs(t, err, c.is)
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		require.Equal(t, c.timeout, ne.Timeout(), "Timeout() of %v", err)
	}
	require.NotErrorIs(t, netpoll.Exception(netpoll.ErrConnClosed, "x"), io.EOF)
	require.NotErrorIs(t, netpoll.Exception(netpoll.ErrEOF, "x"), net.ErrClosed)
	require.NotErrorIs(t, netpoll.Exception(netpoll.ErrEOF, "x"), io.EOF)
}

// Behaviour 2.6: Exception keeps the chain of any wrapped error.
func TestExceptionKeepsTheChain(t *testing.T) {
	cause := &os.PathError{Op: "open", Path: "p", Err: syscall.ENOENT}
	err := netpoll.Exception(fmt.Errorf("first: %w", cause), "then")
	require.ErrorIs(t, err, syscall.ENOENT)
	require.ErrorIs(t, err, os.ErrNotExist)
	var pe *os.PathError
	require.ErrorAs(t, err, &pe)
	require.Same(t, cause, pe)
	require.EqualError(t, err, "first: "+cause.Error()+" then")
	twice := netpoll.Exception(netpoll.Exception(netpoll.ErrReadTimeout, "inner"), "outer")
	require.ErrorIs(t, twice, netpoll.ErrReadTimeout)
	require.ErrorIs(t, twice, os.ErrDeadlineExceeded)
}

// Behaviour 2.6: Exception never panics, on nil or unknown codes either.
func TestExceptionNeverPanics(t *testing.T) {
	require.NotPanics(t, func() {
		require.NoError(t, netpoll.Exception(nil, "nothing happened"))
		for code := syscall.Errno(0); code < 0x200; code++ {
			err := netpoll.Exception(code, "x")
			require.ErrorIs(t, err, code)
			require.NotEmpty(t, err.Error())
		}
		_ = netpoll.Exception(syscall.Errno(1<<31), "x").Error()
		_ = netpoll.Exception(errors.Join(nil, io.EOF), "").Error()
	})
}

// requireTimeout checks an error of a timeout by all its names.
func requireTimeout(t *testing.T, err error, code syscall.Errno) {
	t.Helper()
	require.ErrorIs(t, err, code)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Contains(t, err.Error(), "timeout")
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	require.True(t, ne.Timeout())
}

// Behaviour 2.2: the texts of a read timeout and of a failed flush are matched by programs.
func TestTimeoutTextsThatProgramsMatch(t *testing.T) {
	conn, _ := narrowPair(t, "tcp")
	require.NoError(t, conn.SetReadTimeout(testkit.Short))
	_, err := conn.Reader().Next(1)
	require.ErrorContains(t, err, "timeout")
	require.NoError(t, conn.SetWriteTimeout(testkit.Short))
	_, err = conn.Writer().WriteBinary(testkit.Pattern(muchOutput))
	require.NoError(t, err)
	err = conn.Writer().Flush()
	require.ErrorContains(t, err, "when flush")
	require.NoError(t, conn.Close())
	require.ErrorContains(t, conn.Writer().Flush(), "when flush")
}

// Behaviour 2.3: timeouts of a connection answer to the standard names, in Read, Reader, Write and Writer.
func TestConnectionTimeoutsAreDeadlineExceeded(t *testing.T) {
	t.Parallel()
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, _ := narrowPair(t, network)
		require.NoError(t, conn.SetReadTimeout(testkit.Short))
		_, err := conn.Reader().Next(1)
		requireTimeout(t, err, netpoll.ErrReadTimeout)
		_, err = conn.Read(make([]byte, 1))
		requireTimeout(t, err, netpoll.ErrReadTimeout)
		require.NoError(t, conn.SetWriteTimeout(testkit.Short))
		_, err = conn.Write(testkit.Pattern(muchOutput))
		requireTimeout(t, err, netpoll.ErrWriteTimeout)
		_, err = conn.Writer().WriteBinary(testkit.Pattern(muchOutput))
		require.NoError(t, err)
		requireTimeout(t, conn.Writer().Flush(), netpoll.ErrWriteTimeout)
	})
}

// Behaviour 2.3: after Close on this side errors are ErrConnClosed and net.ErrClosed, not an end of the stream.
func TestUseAfterCloseIsNetErrClosed(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, _ := testnet.Dialed(t, network)
		require.NoError(t, conn.Close())
		_, nextErr := conn.Reader().Next(1)
		_, readErr := conn.Read(make([]byte, 1))
		_, writeErr := conn.Write([]byte("x"))
		for name, err := range map[string]error{
			"Next": nextErr, "Read": readErr, "Write": writeErr, "Flush": conn.Writer().Flush(),
		} {
			require.ErrorIs(t, err, netpoll.ErrConnClosed, name)
			require.ErrorIs(t, err, net.ErrClosed, name)
			require.NotErrorIs(t, err, netpoll.ErrEOF, name)
			require.NotErrorIs(t, err, io.EOF, name)
		}
	})
}

// Behaviour 2.3: after a reset come the bytes that had arrived, then an error that Is ECONNRESET.
func TestReadAfterResetGivesBufferedBytesThenECONNRESET(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	testkit.Send(t, peer, "last words")
	testnet.Buffered(t, conn, 10)
	require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
	require.NoError(t, peer.Close())
	testkit.Eventually(t, func() bool { return !conn.IsActive() })
	s, err := conn.Reader().ReadString(10)
	require.NoError(t, err)
	require.Equal(t, "last words", s)
	_, nextErr := conn.Reader().Next(1)
	_, readErr := conn.Read(make([]byte, 1))
	for name, err := range map[string]error{"Next": nextErr, "Read": readErr} {
		require.ErrorIs(t, err, syscall.ECONNRESET, name)
		require.ErrorIs(t, err, netpoll.ErrConnClosed, name)
		require.NotErrorIs(t, err, io.EOF, name)
	}
}

// Behaviour 2.3: a reader that waits gets a reset that arrives.
func TestResetWakesReaderWithECONNRESET(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	result := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(1); return err })
	require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
	require.NoError(t, peer.Close())
	require.ErrorIs(t, testkit.Receive(t, result), syscall.ECONNRESET)
}

// Behaviour 2.4: Read returns exactly io.EOF at the end of the stream, time and again.
func TestReadReturnsExactlyEOFAtTheEnd(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		testkit.Send(t, peer, "one\ntwo\n")
		require.NoError(t, peer.Close())
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "one\ntwo\n", string(all))
		for range 2 {
			n, err := conn.Read(make([]byte, 8))
			require.Zero(t, n)
			require.True(t, err == io.EOF, "Read returned %#v", err)
		}
		_, err = bufio.NewReader(conn).ReadString('\n')
		require.Equal(t, io.EOF, err)
	})
}

// Behaviour 2.4: Reader methods return an error that Is ErrEOF and not io.EOF, which programs take for Read's.
func TestReaderMethodsReturnErrEOFAndNotIOEOF(t *testing.T) {
	for _, call := range readCalls {
		t.Run(call.name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			require.NoError(t, peer.Close())
			_, err := call.do(conn.Reader(), 1)
			require.ErrorIs(t, err, netpoll.ErrEOF)
			require.NotErrorIs(t, err, io.EOF)
			require.ErrorIs(t, err, netpoll.ErrConnClosed)
		})
	}
}

// requireDialError checks that err is a *net.OpError of a dial.
func requireDialError(t *testing.T, err error) {
	t.Helper()
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, "dial", op.Op)
}

// Behaviour 2.3 and 2.5: a refused dial is a *net.OpError that Is ECONNREFUSED.
func TestRefusedDialIsECONNREFUSED(t *testing.T) {
	unix := testkit.LocalAddress(t, "unix")
	ln, err := net.Listen("unix", unix)
	require.NoError(t, err)
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // the file that is left refuses
	require.NoError(t, ln.Close())
	for network, address := range map[string]string{"tcp": refusedAddress(t), "unix": unix} {
		_, err := netpoll.DialConnection(network, address, testkit.Timeout)
		requireDialError(t, err)
		require.ErrorIs(t, err, syscall.ECONNREFUSED, network)
		require.NotErrorIs(t, err, netpoll.ErrDialTimeout, network)
	}
}

// Behaviour 2.5: a dial that timed out is a *net.OpError with "i/o timeout" in its text.
func TestDialTimeoutTextContainsIOTimeout(t *testing.T) {
	t.Parallel()
	_, err := netpoll.DialConnection("tcp", silentAddress(t), testkit.Short)
	requireDialError(t, err)
	require.ErrorContains(t, err, "i/o timeout")
}

// Behaviour 2.3: a dial that timed out Is ErrDialTimeout and os.ErrDeadlineExceeded.
func TestDialTimeoutIsErrDialTimeout(t *testing.T) {
	t.Parallel()
	address := silentAddress(t)
	start := time.Now()
	_, err := netpoll.DialConnection("tcp", address, testkit.Short)
	require.ErrorIs(t, err, netpoll.ErrDialTimeout)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	require.True(t, ne.Timeout())
	require.GreaterOrEqual(t, time.Since(start), testkit.Short)
}
