//go:build faults && linux && !netconn && !kqsim

package torture

// More scenarios: those of other packages, and those that get at the descriptor.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/cloudwego/netpoll/mux"
)

func runMux(e *env) error {
	conn, err := e.connect(orClose(testnet.Echo))
	if err != nil {
		return err
	}
	const callers, each, size = 3, 4, 100
	var called atomic.Int64
	queue := mux.NewShardQueue(2, conn)
	sent := make(chan error, 1)
	go func() {
		err := allOf(callers, func(i int) error {
			for range each {
				queue.Add(func() (netpoll.Writer, bool) {
					called.Add(1)
					buf := netpoll.NewLinkBuffer(size)
					_, err := buf.WriteBinary(bytes.Repeat([]byte{byte('a' + i)}, size))
					return buf, err != nil
				})
			}
			return nil
		})
		sent <- errors.Join(err, queue.Close())
	}()
	readErr := expectLetters(e, conn, callers*each, size)
	if readErr != nil {
		_ = conn.Close()
	}
	err = <-sent
	// Those that came after the queue's end are called by a task of their own.
	if !e.soon(func() bool { return called.Load() >= callers*each }) || called.Load() > callers*each {
		e.wrong("%d getters were added, %d called", callers*each, called.Load())
	}
	return errors.Join(readErr, err)
}

// expectLetters reads n messages, each of one letter.
func expectLetters(e *env, conn netpoll.Connection, n, size int) error {
	for range n {
		text, err := conn.Reader().ReadString(size)
		if err != nil {
			return err
		}
		if string(bytes.Repeat([]byte{text[0]}, size)) != text {
			e.wrong("messages are mixed up: %q", text)
		}
	}
	return nil
}

func runHTTP(e *env) error {
	ln, err := netpoll.CreateListener(e.network, e.address())
	if err != nil {
		return err
	}
	page := testkit.Pattern(20_000)
	server := &http.Server{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }),
		ErrorLog: nullLog,
	}
	served := make(chan error, 1)
	go func() {
		err := server.Serve(ln)
		_ = ln.Close()
		served <- err
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(netpoll.NetDialer).DialContext(ctx, e.network, ln.Addr().String())
	}}
	e.later(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	client := &http.Client{Transport: transport}
	for range 2 {
		if err := e.get(client, page); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) get(client *http.Client, page []byte) error {
	answer, err := client.Get("http://server/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status) // the server could not read the request
	}
	body, err := io.ReadAll(answer.Body)
	e.prefixOf(page, body)
	return err
}

func runDetach(e *env) error {
	conn, err := e.connect(orClose(testnet.Echo))
	if err != nil {
		return err
	}
	if err := e.exchange(conn, "attached"); err != nil {
		return err
	}
	fd := conn.(netpoll.Conn).Fd()
	if err := conn.(interface{ Detach() error }).Detach(); err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "detached")
	plain, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return err
	}
	defer plain.Close()
	if _, err := plain.Write([]byte("detached")); err != nil {
		return err
	}
	var got [8]byte
	if _, err := io.ReadFull(plain, got[:]); err != nil {
		return err
	}
	e.prefixOf([]byte("detached"), got[:])
	return nil
}

func runFile(e *env) error {
	conn, err := e.connect(orClose(testnet.Echo))
	if err != nil {
		return err
	}
	_ = conn.SetIdleTimeout(time.Minute)
	file, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return err
	}
	_ = file.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	if err := rawExchange(e, raw, "raw"); err != nil {
		return err
	}
	return e.exchange(conn, "not raw")
}

// rawExchange is exchange past the buffers. The question is not asked before the answer is waited for, because what
// arrives earlier belongs to the connection.
func rawExchange(e *env, raw syscall.RawConn, text string) error {
	var n int
	var failure error
	got, asked := make([]byte, len(text)), false
	ask := func(fd uintptr) bool {
		_, failure = syscall.Write(int(fd), []byte(text))
		return failure != syscall.EAGAIN
	}
	err := raw.Read(func(fd uintptr) bool {
		if !asked {
			asked = true
			if err := errors.Join(raw.Write(ask), failure); err != nil {
				failure = err
				return true
			}
		}
		for failure = nil; failure == nil && n < len(got); {
			var more int
			if more, failure = syscall.Read(int(fd), got[n:]); more == 0 && failure == nil {
				failure = io.EOF
			}
			n += max(more, 0)
		}
		return failure != syscall.EAGAIN
	})
	if err = errors.Join(err, failure); err != nil {
		return err
	}
	e.prefixOf([]byte(text), got)
	return nil
}

func runDescriptors(e *env) error {
	r, w := netpoll.GetSysFdPairs()
	if r < 0 {
		return syscall.EMFILE
	}
	a, errA := e.adopt(r)
	b, errB := e.adopt(w)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	for range 3 {
		if _, err := a.Write([]byte("there")); err != nil {
			return err
		}
		if err := e.expect(b, "there"); err != nil {
			return err
		}
		if _, err := b.Write([]byte("and back")); err != nil {
			return err
		}
		if err := e.expect(a, "and back"); err != nil {
			return err
		}
	}
	return nil
}

// adopt makes a connection of a descriptor, which still belongs to the caller if that fails.
func (e *env) adopt(fd int) (netpoll.Connection, error) {
	conn, err := netpoll.NewFDConnection(fd)
	if err != nil {
		if closeErr := syscall.Close(fd); closeErr != nil {
			e.wrong("NewFDConnection failed with %w, and the descriptor is gone: %w", err, closeErr)
		}
		return nil, err
	}
	e.know(conn)
	e.later(func() { _ = conn.Close() })
	return conn, nil
}

func runAccept(e *env) error {
	lc := netpoll.ListenConfig{Backlog: 8}
	ln, err := lc.Listen(context.Background(), e.network, e.address())
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- acceptAndEcho(ln) }()
	conn, err := e.dial(ln.Addr())
	if err == nil {
		err = e.exchange(conn, "hello")
		_ = conn.Close()
	}
	_ = ln.Close()
	return errors.Join(err, <-served)
}

// acceptAndEcho answers one connection, and closes the listener so that no client waits after an error.
func acceptAndEcho(ln net.Listener) error {
	defer ln.Close()
	conn, err := ln.Accept()
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	defer conn.Close()
	_, err = io.Copy(conn, struct{ io.Reader }{conn})
	return err
}

func runConverted(e *env) error {
	original, err := e.plainListener()
	if err != nil {
		return err
	}
	ln, err := netpoll.ConvertListener(original)
	if err != nil {
		return err
	}
	if _, err := e.serveOn(ln, orClose(testnet.Echo)); err != nil {
		return err
	}
	conn, err := e.dial(original.Addr())
	if err != nil {
		return err
	}
	return e.exchange(conn, "hello")
}
