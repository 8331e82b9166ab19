//go:build faults && linux && !netconn && !kqsim

package torture

// More scenes: those of other packages, and those that get at the descriptor.

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

func playMux(s *stage) error {
	conn, err := s.connect(orClose(testnet.Echo))
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
	readErr := expectLetters(s, conn, callers*each, size)
	if readErr != nil {
		_ = conn.Close()
	}
	err = <-sent
	// Those that came after the queue's end are called by a task of their own.
	if !s.soon(func() bool { return called.Load() >= callers*each }) || called.Load() > callers*each {
		s.wrong("%d getters were added, %d called", callers*each, called.Load())
	}
	return errors.Join(readErr, err)
}

// expectLetters reads n messages, each of one letter.
func expectLetters(s *stage, conn netpoll.Connection, n, size int) error {
	for range n {
		text, err := conn.Reader().ReadString(size)
		if err != nil {
			return err
		}
		if string(bytes.Repeat([]byte{text[0]}, size)) != text {
			s.wrong("messages are mixed up: %q", text)
		}
	}
	return nil
}

func playHTTP(s *stage) error {
	ln, err := netpoll.CreateListener(s.network, s.address())
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
		return new(netpoll.NetDialer).DialContext(ctx, s.network, ln.Addr().String())
	}}
	s.later(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	client := &http.Client{Transport: transport}
	for range 2 {
		if err := s.get(client, page); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) get(client *http.Client, page []byte) error {
	answer, err := client.Get("http://server/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status) // the server could not read the request
	}
	body, err := io.ReadAll(answer.Body)
	s.prefixOf(page, body)
	return err
}

func playDetach(s *stage) error {
	conn, err := s.connect(orClose(testnet.Echo))
	if err != nil {
		return err
	}
	if err := s.exchange(conn, "attached"); err != nil {
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
	s.prefixOf([]byte("detached"), got[:])
	return nil
}

func playFile(s *stage) error {
	conn, err := s.connect(orClose(testnet.Echo))
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
	if err := rawExchange(s, raw, "raw"); err != nil {
		return err
	}
	return s.exchange(conn, "not raw")
}

// rawExchange is exchange past the buffers. The question is not asked before the answer is waited for, because what
// arrives earlier belongs to the connection.
func rawExchange(s *stage, raw syscall.RawConn, text string) error {
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
	s.prefixOf([]byte(text), got)
	return nil
}

func playDescriptors(s *stage) error {
	r, w := netpoll.GetSysFdPairs()
	if r < 0 {
		return syscall.EMFILE
	}
	a, errA := s.adopt(r)
	b, errB := s.adopt(w)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	for range 3 {
		if _, err := a.Write([]byte("there")); err != nil {
			return err
		}
		if err := s.expect(b, "there"); err != nil {
			return err
		}
		if _, err := b.Write([]byte("and back")); err != nil {
			return err
		}
		if err := s.expect(a, "and back"); err != nil {
			return err
		}
	}
	return nil
}

// adopt makes a connection of a descriptor, which still belongs to the caller if that fails.
func (s *stage) adopt(fd int) (netpoll.Connection, error) {
	conn, err := netpoll.NewFDConnection(fd)
	if err != nil {
		if closeErr := syscall.Close(fd); closeErr != nil {
			s.wrong("NewFDConnection failed with %w, and the descriptor is gone: %w", err, closeErr)
		}
		return nil, err
	}
	s.know(conn)
	s.later(func() { _ = conn.Close() })
	return conn, nil
}

func playAccept(s *stage) error {
	lc := netpoll.ListenConfig{Backlog: 8}
	ln, err := lc.Listen(context.Background(), s.network, s.address())
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- acceptAndEcho(ln) }()
	conn, err := s.dial(ln.Addr())
	if err == nil {
		err = s.exchange(conn, "hello")
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

func playConverted(s *stage) error {
	original, err := s.plainListener()
	if err != nil {
		return err
	}
	ln, err := netpoll.ConvertListener(original)
	if err != nil {
		return err
	}
	if _, err := s.serveOn(ln, orClose(testnet.Echo)); err != nil {
		return err
	}
	conn, err := s.dial(original.Addr())
	if err != nil {
		return err
	}
	return s.exchange(conn, "hello")
}
