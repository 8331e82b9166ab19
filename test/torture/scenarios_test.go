//go:build faults && linux && !netconn && !kqsim

package torture

// The scenarios: uses of the library. Each ends whatever system call fails, and returns the first error that it meets.

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// scenario is one of them. Where accepts is set it calls Accept itself, which returns errors that a server survives.
type scenario struct {
	name    string
	accepts bool
	run     func(e *env) error
}

var scenarios = []scenario{
	{"echo", false, runEcho},
	{"large message both ways", false, runLarge},
	{"pipelined", false, runPipelined},
	{"half-close then reply", false, runHalfClose},
	{"reset by peer", false, runReset},
	{"server with shutdown", false, runShutdown},
	{"dial refused", false, runRefused},
	{"dial many", false, runMany},
	{"read timeout", false, runReadTimeout},
	{"write timeout", true, runWriteTimeout},
	{"mux", false, runMux},
	{"net-http", true, runHTTP},
	{"detach", false, runDetach},
	{"file and control", false, runFile},
	{"descriptors of the user", false, runDescriptors},
	{"accept by the caller", true, runAccept},
	{"converted listener", false, runConverted},
	{"tls echo", false, runTLSEcho},
	{"tls large message both ways", false, runTLSLarge},
	{"tls half-close then reply", false, runTLSHalfClose},
	{"tls dial many", false, runTLSMany},
	{"tls peer without tls", false, runTLSPlain},
	{"tls upgrade", false, runTLSUpgrade},
	{"tls write timeout", true, runTLSWriteTimeout},
	{"shm echo", true, runShmEcho},
	{"shm large message both ways", true, runShmLarge},
	{"shm half-close then reply", true, runShmHalfClose},
	{"shm dial many", true, runShmMany},
}

// connector connects to a server of its own: connect, connectTLS or connectShm.
type connector func(e *env, on netpoll.OnRequest, opts ...netpoll.Option) (netpoll.Connection, error)

func runEcho(e *env) error { return echoOver(e, (*env).connect) }

func echoOver(e *env, connect connector) error {
	conn, err := connect(e, orClose(testnet.Echo))
	if err != nil {
		return err
	}
	for _, text := range []string{"a", "two", strings.Repeat("three", 100)} {
		if err := e.exchange(conn, text); err != nil {
			return err
		}
	}
	return conn.Close()
}

func runLarge(e *env) error { return largeOver(e, (*env).connect) }

// largeOver sends a large message in parts, and takes it back meanwhile.
func largeOver(e *env, connect connector) error {
	conn, err := connect(e, orClose(testnet.Echo))
	if err != nil {
		return err
	}
	data := testkit.Pattern(150 << 10)
	return allOf(2, func(i int) error {
		if i == 0 {
			return orEnd(conn, sendInParts(conn, data, 50<<10))
		}
		for rest := data; len(rest) > 0; {
			got, err := conn.Reader().ReadBinary(min(len(rest), 20_000))
			if err != nil {
				return orEnd(conn, err)
			}
			e.prefixOf(rest, got)
			rest = rest[len(got):]
		}
		return nil
	})
}

// orEnd closes the connection after an error, so that the other direction ends too.
func orEnd(conn netpoll.Connection, err error) error {
	if err != nil {
		_ = conn.Close()
	}
	return err
}

func sendInParts(conn netpoll.Connection, data []byte, size int) error {
	for len(data) > 0 {
		n := min(size, len(data))
		if _, err := conn.Writer().WriteBinary(data[:n]); err != nil {
			return err
		}
		if err := conn.Writer().Flush(); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// frameSize is the size of a request where each is answered by itself.
const frameSize = 16

// answerFrames sends back each whole frame with a Flush of its own.
func answerFrames(_ context.Context, conn netpoll.Connection) error {
	for conn.Reader().Len() >= frameSize {
		frame, err := conn.Reader().ReadString(frameSize)
		if err != nil {
			return err
		}
		if _, err := conn.Writer().WriteString(frame); err != nil {
			return err
		}
		if err := conn.Writer().Flush(); err != nil {
			return err
		}
	}
	return nil
}

func runPipelined(e *env) error {
	conn, err := e.connect(orClose(answerFrames))
	if err != nil {
		return err
	}
	text := string(testkit.Pattern(12 * frameSize))
	if err := sendInParts(conn, []byte(text), frameSize); err != nil {
		return err
	}
	return e.expect(conn, text)
}

// answerTheEnd answers when it has read all there is.
func answerTheEnd(_ context.Context, conn netpoll.Connection) error {
	question, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(question, " answered"...)); err != nil {
		return err
	}
	return conn.Close()
}

func runHalfClose(e *env) error { return halfCloseOver(e, (*env).connect) }

// halfCloseOver ends one direction, and then the other.
func halfCloseOver(e *env, connect connector) error {
	conn, err := connect(e, orClose(answerTheEnd))
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("question")); err != nil {
		return err
	}
	if err := conn.(netpoll.HalfCloser).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	e.prefixOf([]byte("question answered"), answer)
	if err == nil && len(answer) == 0 {
		return io.ErrUnexpectedEOF // the server has failed
	}
	return err
}

// runReset leaves input unread, so that the end is a reset over Unix sockets too.
func runReset(e *env) error {
	addr, err := e.serve(orClose(testnet.Echo))
	if err != nil {
		return err
	}
	peer, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer peer.Close()
	if _, err := peer.Write([]byte("hello")); err != nil {
		return err
	}
	var first [1]byte
	if _, err := peer.Read(first[:]); err != nil {
		return err
	}
	if tcp, ok := peer.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = peer.Close()
	if !e.soon(func() bool { return e.prepared.Load() == e.closed.Load() }) {
		e.wrong("a connection that was reset has not ended")
	}
	return nil
}

func runShutdown(e *env) error {
	ln, err := netpoll.CreateListener(e.network, e.address())
	if err != nil {
		return err
	}
	loop, err := e.serveOn(ln, orClose(testnet.Echo))
	if err != nil {
		return err
	}
	const clients = 3
	begun, over := make(chan struct{}, clients), make(chan struct{})
	e.later(func() { <-over })
	go func() {
		defer close(over)
		for range clients {
			<-begun
		}
		ctx, cancel := context.WithTimeout(context.Background(), endTime/2)
		defer cancel()
		if err := loop.Shutdown(ctx); err != nil {
			e.wrong("Shutdown: %w", err)
		}
	}()
	return allOf(clients, func(int) error {
		var once atomic.Bool
		note := func() {
			if !once.Swap(true) {
				begun <- struct{}{}
			}
		}
		defer note()
		conn, err := e.dial(ln.Addr())
		if err != nil {
			return err
		}
		if err := e.exchange(conn, "first"); err != nil {
			return err
		}
		note()
		for e.exchange(conn, "more") == nil {
		}
		return nil // the server has closed it
	})
}

func runRefused(e *env) error {
	ln, err := net.Listen(e.network, e.address())
	if err != nil {
		return err
	}
	_ = ln.Close()
	conn, err := e.dial(ln.Addr())
	if err == nil {
		e.wrong("a dial that must be refused gave %v", conn)
	}
	return nil
}

func runMany(e *env) error {
	addr, err := e.serve(orClose(testnet.Echo))
	if err != nil {
		return err
	}
	return allOf(6, func(int) error {
		conn, err := e.dial(addr)
		if err != nil {
			return err
		}
		return e.exchange(conn, "hello")
	})
}

func runReadTimeout(e *env) error {
	conn, err := e.connect(orClose(testnet.Echo))
	if err != nil {
		return err
	}
	_ = conn.SetReadTimeout(2 * time.Millisecond)
	_, err = conn.Reader().Next(1)
	switch {
	case err == nil:
		e.wrong("a byte came that nobody had sent")
	case !errors.Is(err, netpoll.ErrReadTimeout):
		return err
	}
	_ = conn.SetReadTimeout(0)
	return e.exchange(conn, "hello")
}

// tinyBuffer makes a new socket hold little.
func tinyBuffer(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096)
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
	})
}

func runWriteTimeout(e *env) error {
	ln, err := (&net.ListenConfig{Control: tinyBuffer}).Listen(context.Background(), e.network, e.address())
	if err != nil {
		return err
	}
	defer ln.Close()
	dialer := netpoll.NetDialer{Dialer: net.Dialer{Control: tinyBuffer}}
	conn, err := dialer.DialConnection(e.network, ln.Addr().String(), endTime)
	if err != nil {
		return err
	}
	defer conn.Close()
	peer, err := ln.Accept()
	if err != nil {
		return err
	}
	defer peer.Close()
	return e.flushTwice(conn, peer, testkit.Pattern(300<<10))
}

// flushTwice flushes data that peer does not take, and, after the timeout, once more while peer reads.
func (e *env) flushTwice(conn netpoll.Connection, peer net.Conn, data []byte) error {
	_ = conn.SetWriteTimeout(3 * time.Millisecond)
	if _, err := conn.Writer().WriteBinary(data); err != nil {
		return err
	}
	switch err := conn.Writer().Flush(); {
	case err == nil:
		e.wrong("a peer that does not read took everything")
	case !errors.Is(err, netpoll.ErrWriteTimeout):
		return err
	}
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(peer)
		got <- all
	}()
	_ = conn.SetWriteTimeout(0)
	err := conn.Writer().Flush()
	_ = conn.Close()
	all := <-got
	e.prefixOf(data, all)
	if err == nil && len(all) < len(data) {
		e.wrong("Flush returned nil, but of %d bytes %d arrived", len(data), len(all))
	}
	return err
}
