//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// A connection used as a net.Conn by code that looks for more: the methods that package io and others find on it mean
// what they say.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// faceKinds makes a connection of each kind of value that programs are given, and its peer.
var faceKinds = map[string]func(t testing.TB) (netpoll.Connection, net.Conn){
	"tcp":  func(t testing.TB) (netpoll.Connection, net.Conn) { return testnet.Dialed(t, "tcp") },
	"unix": func(t testing.TB) (netpoll.Connection, net.Conn) { return testnet.Dialed(t, "unix") },
	"any net.Conn": func(t testing.TB) (netpoll.Connection, net.Conn) {
		below, peer := net.Pipe()
		conn, err := netpoll.NewConnection(below)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close(); peer.Close() })
		return conn, peer
	},
}

// started runs f and returns its result.
func started(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return result
}

func overFaces(t *testing.T, f func(t *testing.T, conn netpoll.Connection, peer net.Conn)) {
	for name, connect := range faceKinds {
		t.Run(name, func(t *testing.T) {
			conn, peer := connect(t)
			require.NoError(t, conn.SetDeadline(time.Now().Add(testkit.Timeout)))
			require.NoError(t, peer.SetDeadline(time.Now().Add(testkit.Timeout)))
			f(t, conn, peer)
		})
	}
}

// Behaviour 9.5: whatever sends through methods that package io looks for has sent when it returns.
func TestStringAndByteWritersSend(t *testing.T) {
	long := strings.Repeat("long string ", 4000)
	request := func(conn net.Conn) error {
		r, err := http.NewRequest(http.MethodGet, "http://example.com/path", nil)
		if err != nil {
			return err
		}
		return r.Write(conn)
	}
	for name, c := range map[string]struct {
		write func(conn net.Conn) error
		want  string
	}{
		"io.WriteString": {func(conn net.Conn) error { _, err := io.WriteString(conn, "hello"); return err }, "hello"},
		"empty string, then another": {func(conn net.Conn) error {
			_, err := io.WriteString(conn, "")
			if err == nil {
				_, err = io.WriteString(conn, "x")
			}
			return err
		}, "x"},
		"long io.WriteString": {func(conn net.Conn) error { _, err := io.WriteString(conn, long); return err }, long},
		"io.Copy from a strings.Reader": {func(conn net.Conn) error {
			_, err := io.Copy(conn, strings.NewReader(long))
			return err
		}, long},
		"bufio.Writer with a long string": {func(conn net.Conn) error {
			w := bufio.NewWriter(conn)
			if _, err := w.WriteString(long); err != nil {
				return err
			}
			return w.Flush()
		}, long},
		"io.ByteWriter": {func(conn net.Conn) error {
			for _, b := range []byte{0, 'a', 255} {
				if err := conn.(io.ByteWriter).WriteByte(b); err != nil {
					return err
				}
			}
			return nil
		}, "\x00a\xff"},
		"http.Header.Write": {func(conn net.Conn) error {
			return http.Header{"Name": {"value"}}.Write(conn)
		}, "Name: value\r\n"},
		"http.Request.Write":          {request, "GET /path HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Go-http-client/1.1\r\n\r\n"},
		"queued bytes, then a string": {queuedThenString, "queued, sent"},
	} {
		t.Run(name, func(t *testing.T) {
			overFaces(t, func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
				sent := started(func() error { return c.write(conn) })
				arrives(t, peer, c.want)
				require.NoError(t, testkit.Receive(t, sent))
			})
		})
	}
}

// queuedThenString writes by Writer and then by WriteString: queued output goes first.
func queuedThenString(conn net.Conn) error {
	if _, err := conn.(netpoll.Connection).Writer().WriteString("queued, "); err != nil {
		return err
	}
	_, err := io.WriteString(conn, "sent")
	return err
}

// Behaviour 9.5: Writer's WriteString and WriteByte queue until Flush, and so do those of NewWriter of a connection.
func TestWriterViewOnlyQueues(t *testing.T) {
	overFaces(t, func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
		for _, w := range []netpoll.Writer{conn.Writer(), netpoll.NewWriter(conn), netpoll.NewReadWriter(conn)} {
			_, err := w.WriteString("ab")
			require.NoError(t, err)
			require.NoError(t, w.WriteByte('c'))
			require.Equal(t, 3, w.MallocLen())
			flushed := started(w.Flush)
			arrives(t, peer, "abc")
			require.NoError(t, testkit.Receive(t, flushed))
		}
	})
}

// Behaviour 1.6: what NewIOWriter makes of a Writer is an io.Writer through and through, also for strings.
func TestNewIOWriterOfAConnectionsWriterSendsStrings(t *testing.T) {
	overFaces(t, func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
		sent := started(func() error { _, err := io.WriteString(netpoll.NewIOWriter(conn.Writer()), "hello"); return err })
		arrives(t, peer, "hello")
		require.NoError(t, testkit.Receive(t, sent))
		require.Same(t, conn, netpoll.NewIOReader(conn.Reader()))
	})
}

// Behaviour 9.5: ReadByte of the connection ends with io.EOF itself, that of its Reader with ErrEOF.
func TestOwnReadByteEndsWithIOEOF(t *testing.T) {
	overFaces(t, func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
		want := binary.AppendUvarint(nil, 300)
		want = append(want, "<a>text</a>"...)
		sent := started(func() error {
			_, err := peer.Write(want)
			peer.Close()
			return err
		})
		number, err := binary.ReadUvarint(conn.(io.ByteReader))
		require.NoError(t, err)
		require.EqualValues(t, 300, number)
		text := ""
		require.NoError(t, xml.NewDecoder(conn).Decode(&text))
		require.Equal(t, "text", text)
		require.NoError(t, testkit.Receive(t, sent))
		_, err = conn.(io.ByteReader).ReadByte()
		require.True(t, err == io.EOF, "ReadByte returned %#v", err)
		_, err = conn.Reader().ReadByte()
		require.ErrorIs(t, err, netpoll.ErrEOF)
		require.NotErrorIs(t, err, io.EOF)
	})
}

// Behaviour 9.5: a program that reads a connection byte by byte holds no more memory than one that reads it by Read.
func TestOwnReadByteFreesWhatItHasRead(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	const total = 256 << 10
	sent := started(func() error { _, err := peer.Write(make([]byte, total)); return err })
	allocated := testing.AllocsPerRun(total-1, func() {
		if _, err := conn.(io.ByteReader).ReadByte(); err != nil {
			t.Error(err)
		}
	})
	require.Less(t, allocated, 0.5)
	require.NoError(t, testkit.Receive(t, sent))
}

// Behaviour 3.11: Read fails once its deadline has passed, although input is buffered; methods of Reader still succeed.
func TestPassedDeadlineEndsReadOfBufferedInput(t *testing.T) {
	overFaces(t, func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
		sent := started(func() error { _, err := peer.Write([]byte("0123456789")); return err })
		testnet.Buffered(t, conn, 10)
		require.NoError(t, testkit.Receive(t, sent))
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(-time.Second)))
		n, err := conn.Read(make([]byte, 4))
		require.Zero(t, n)
		requireTimeout(t, err, netpoll.ErrReadTimeout)
		_, err = conn.(io.ByteReader).ReadByte()
		requireTimeout(t, err, netpoll.ErrReadTimeout)
		s, err := conn.Reader().ReadString(4)
		require.NoError(t, err)
		require.Equal(t, "0123", s)
		require.NoError(t, conn.SetReadDeadline(time.Time{}))
		got := make([]byte, 6)
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, "456789", string(got))
	})
}

// Behaviour 3.11: a deadline ends an io.Copy from a peer that never pauses.
func TestDeadlineEndsACopyFromAFloodingPeer(t *testing.T) {
	overFaces(t, func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
		flooded := make(chan struct{})
		go func() {
			defer close(flooded)
			for block := make([]byte, 64<<10); ; {
				if _, err := peer.Write(block); err != nil {
					return
				}
			}
		}()
		some := make(chan struct{}, 1)
		copied := started(func() error {
			_, err := io.Copy(notifyingWriter(some), conn)
			return err
		})
		testkit.Receive(t, some)
		require.NoError(t, conn.SetReadDeadline(time.Now()))
		require.ErrorIs(t, testkit.Receive(t, copied), os.ErrDeadlineExceeded)
		require.NoError(t, conn.Close())
		require.NoError(t, peer.Close())
		<-flooded
	})
}

// notifyingWriter takes everything and says that there was something.
type notifyingWriter chan struct{}

func (w notifyingWriter) Write(p []byte) (int, error) {
	select {
	case w <- struct{}{}:
	default:
	}
	return len(p), nil
}

// Behaviour 3.11: the ReadTimeout of a net/http server ends a body that its handler reads more slowly than it comes.
func TestHTTPReadTimeoutEndsABodyThatIsReadSlowly(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	server := &http.Server{ReadTimeout: testkit.Ample, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ticker := time.NewTicker(testkit.Short / 4)
		defer ticker.Stop()
		for p := make([]byte, 16<<10); ; {
			if _, err := r.Body.Read(p); err != nil {
				ended <- err
				return
			}
			<-ticker.C // a slow reader; input waits all the time
		}
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	defer func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, testkit.Receive(t, served), http.ErrServerClosed)
	}()
	client, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.SetDeadline(time.Now().Add(testkit.Timeout)))
	_, err = io.WriteString(client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n")
	require.NoError(t, err)
	go io.Copy(client, bytes.NewReader(make([]byte, 64<<20))) // ends with the server
	require.ErrorIs(t, testkit.Receive(t, ended), os.ErrDeadlineExceeded)
}
