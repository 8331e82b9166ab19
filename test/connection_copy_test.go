//go:build linux

package test

// Copying to and from connections: every kind of source to every kind of destination, and what goes before it. How it
// ends is in connection_copy_end_test.go.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// copyEnd is one end of a connection in a test of copying, with its peer, which is of package net.
type copyEnd struct {
	conn net.Conn
	peer net.Conn
}

// endKinds makes ends: of this library and of package net, over TCP and over Unix sockets.
var endKinds = []struct {
	name string
	make func(t testing.TB) copyEnd
}{
	{"netpoll tcp", func(t testing.TB) copyEnd { return ownEnd(t, "tcp", "127.0.0.1:0") }},
	{"netpoll tcp6", func(t testing.TB) copyEnd { return ownEnd(t, "tcp", "[::1]:0") }},
	{"netpoll unix", func(t testing.TB) copyEnd { return ownEnd(t, "unix", testkit.LocalAddress(t, "unix")) }},
	{"net tcp", func(t testing.TB) copyEnd { return plainEnd(t, "tcp") }},
	{"net unix", func(t testing.TB) copyEnd { return plainEnd(t, "unix") }},
}

func ownEnd(t testing.TB, network, addr string) copyEnd {
	t.Helper()
	ln, err := net.Listen(network, addr)
	require.NoError(t, err)
	defer ln.Close()
	conn := testnet.Dial(t, ln.Addr())
	peer, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	return copyEnd{conn, peer}
}

func plainEnd(t testing.TB, network string) copyEnd {
	t.Helper()
	ln, err := net.Listen(network, testkit.LocalAddress(t, network))
	require.NoError(t, err)
	defer ln.Close()
	conn, err := net.Dial(network, ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	peer, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	return copyEnd{conn, peer}
}

// tempFile returns a file with content, to be read from its beginning.
func tempFile(t testing.TB, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}

// source returns what to copy from: the far end sends content and then the end of the stream.
func source(t testing.TB, kind string, content []byte) io.Reader {
	t.Helper()
	if kind == "file" {
		return tempFile(t, content)
	}
	e := makeEnd(t, kind)
	go func() {
		_, _ = e.peer.Write(content) // cut short where the test copies less
		_ = e.peer.(halfCloser).CloseWrite()
	}()
	return e.conn
}

func makeEnd(t testing.TB, kind string) copyEnd {
	t.Helper()
	for _, k := range endKinds {
		if k.name == kind {
			return k.make(t)
		}
	}
	t.Fatalf("no kind of end is called %q", kind)
	return copyEnd{}
}

// collect returns what arrives at peer until the end of the stream.
func collect(peer net.Conn) <-chan []byte {
	ch := make(chan []byte, 1)
	go func() {
		_ = peer.SetReadDeadline(time.Now().Add(testkit.Timeout))
		all, _ := io.ReadAll(peer)
		ch <- all
	}()
	return ch
}

func kindNames(more ...string) (names []string) {
	for _, k := range endKinds {
		names = append(names, k.name)
	}
	return append(names, more...)
}

// Behaviour 9.8: io.Copy and io.CopyN from everything to everything.
func TestCopyFromEverythingToEverything(t *testing.T) {
	for _, from := range kindNames("file") {
		for _, to := range kindNames() {
			for _, size := range []int{0, 1, 5000, 3 << 20} {
				t.Run(fmt.Sprintf("from %s to %s, %d bytes", from, to, size), func(t *testing.T) {
					copyOnce(t, from, to, size, false)
					copyOnce(t, from, to, size, true)
				})
			}
		}
	}
}

func copyOnce(t *testing.T, from, to string, size int, limited bool) {
	t.Helper()
	content := testkit.Pattern(size)
	src, dst := source(t, from, content), makeEnd(t, to)
	got := collect(dst.peer)
	n, err := int64(0), error(nil)
	want := size
	if limited {
		want = size / 2
		n, err = io.CopyN(dst.conn, src, int64(want))
	} else {
		n, err = io.Copy(dst.conn, src)
	}
	require.NoError(t, err)
	require.EqualValues(t, want, n)
	require.NoError(t, dst.conn.(halfCloser).CloseWrite())
	require.True(t, bytes.Equal(content[:want], testkit.Receive(t, got)), "other bytes have arrived")
	rest, err := io.ReadAll(src)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content[want:], rest), "the rest is not where the copy has left off")
}

// Behaviour 9.8: a source with fewer bytes than io.CopyN is to copy is io.EOF, and the limit tells what is missing.
func TestLimitedCopyTellsWhatIsMissing(t *testing.T) {
	for _, from := range kindNames("file") {
		t.Run(from, func(t *testing.T) {
			dst := makeEnd(t, "netpoll tcp")
			limited := &io.LimitedReader{R: source(t, from, testkit.Pattern(100_000)), N: 150_000}
			n, err := dst.conn.(io.ReaderFrom).ReadFrom(limited)
			require.NoError(t, err)
			require.EqualValues(t, 100_000, n)
			require.EqualValues(t, 50_000, limited.N)
			n, err = dst.conn.(io.ReaderFrom).ReadFrom(&io.LimitedReader{R: limited.R})
			require.NoError(t, err)
			require.Zero(t, n)
		})
	}
}

// Behaviour 9.8: what is pending in Writer goes before the copy, and what is buffered goes as its first part.
func TestCopySendsWhatIsBufferedFirst(t *testing.T) {
	for _, from := range kindNames("file") {
		t.Run(from, func(t *testing.T) {
			dst := makeEnd(t, "netpoll tcp")
			content := testkit.Pattern(200_000)
			src := source(t, from, content)
			if conn, ok := src.(netpoll.Connection); ok {
				testnet.Buffered(t, conn, 10)
				first, err := conn.Reader().Next(10)
				require.NoError(t, err)
				require.Equal(t, content[:10], first)
				content = content[10:]
			}
			got := collect(dst.peer)
			_, err := dst.conn.(netpoll.Connection).Writer().WriteBinary([]byte("queued"))
			require.NoError(t, err)
			n, err := io.Copy(dst.conn, src)
			require.NoError(t, err)
			require.EqualValues(t, len(content), n)
			require.NoError(t, dst.conn.(halfCloser).CloseWrite())
			require.True(t, bytes.Equal(append([]byte("queued"), content...), testkit.Receive(t, got)))
		})
	}
}

// shoutingConn and shoutingFile do more than what they embed: package net and this package must ask them.
type shoutingConn struct{ net.Conn }

func (c shoutingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	copy(p, bytes.ToUpper(p[:n]))
	return n, err
}

type shoutingFile struct{ *os.File }

func (f shoutingFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	copy(p, bytes.ToUpper(p[:n]))
	return n, err
}

// WriteTo hides the one of the file.
func (f shoutingFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct {
		io.Reader
		io.Seeker
	}{f, f.File})
}

type shoutingWriter struct{ net.Conn }

func (w shoutingWriter) Write(p []byte) (int, error) { return w.Conn.Write(bytes.ToUpper(p)) }

// Behaviour 9.8: the Read and the Write of a type of the user's are called, whatever it is made of.
func TestCopyAsksTypesOfTheUser(t *testing.T) {
	text := bytes.Repeat([]byte("quiet "), 20_000)
	for _, from := range kindNames("file") {
		t.Run(from, func(t *testing.T) {
			dst := makeEnd(t, "netpoll tcp")
			var src io.Reader
			switch s := source(t, from, text).(type) {
			case *os.File:
				src = shoutingFile{s}
			case net.Conn:
				src = shoutingConn{s}
			}
			got := collect(dst.peer)
			_, err := dst.conn.(io.ReaderFrom).ReadFrom(src)
			require.NoError(t, err)
			require.NoError(t, dst.conn.(halfCloser).CloseWrite())
			require.Equal(t, string(bytes.ToUpper(text)), string(testkit.Receive(t, got)))
		})
	}
	t.Run("writer", func(t *testing.T) {
		dst := makeEnd(t, "net tcp")
		got := collect(dst.peer)
		_, err := io.Copy(shoutingWriter{dst.conn}, source(t, "netpoll tcp", text))
		require.NoError(t, err)
		require.NoError(t, dst.conn.(halfCloser).CloseWrite())
		require.Equal(t, string(bytes.ToUpper(text)), string(testkit.Receive(t, got)))
	})
}

// brokenReader fails after some bytes.
type brokenReader struct{ left int }

var errBroken = errors.New("the reader is broken")

func (r *brokenReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errBroken
	}
	n := min(len(p), r.left)
	r.left -= n
	return n, nil
}

// Behaviour 9.8: an error of the reader is the error of ReadFrom, and what came before is sent.
func TestReadFromReturnsTheErrorOfTheReader(t *testing.T) {
	dst := makeEnd(t, "netpoll tcp")
	n, err := dst.conn.(io.ReaderFrom).ReadFrom(&brokenReader{100_000})
	require.ErrorIs(t, err, errBroken)
	require.EqualValues(t, 100_000, n)
	_, err = io.CopyN(io.Discard, dst.peer, 100_000)
	require.NoError(t, err)
	closed := tempFile(t, []byte("content"))
	require.NoError(t, closed.Close())
	_, err = io.Copy(dst.conn, closed)
	require.ErrorIs(t, err, os.ErrClosed)
}

// Behaviour 9.8: a file that is no regular one is copied too, and a file is sent from where it is.
func TestReadFromOfPipesAndMiddles(t *testing.T) {
	dst := makeEnd(t, "netpoll tcp")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	go func() {
		_, _ = w.WriteString("through a pipe, ")
		_ = w.Close()
	}()
	_, err = io.Copy(dst.conn, r)
	require.NoError(t, err)
	file := tempFile(t, []byte("not this, but that"))
	_, err = file.Seek(10, io.SeekStart)
	require.NoError(t, err)
	_, err = io.CopyN(dst.conn, file, 3)
	require.NoError(t, err)
	at, err := file.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	require.EqualValues(t, 13, at)
	n, err := io.Copy(dst.conn, file)
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	arrives(t, dst.peer, "through a pipe, but that")
}

// Behaviour 9.8: an echo is a copy of a connection to itself.
func TestCopyToItself(t *testing.T) {
	e := makeEnd(t, "netpoll tcp")
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(e.conn, e.conn)
		copied <- errors.Join(err, e.conn.(halfCloser).CloseWrite())
	}()
	content := testkit.Pattern(4 << 20)
	got := collect(e.peer)
	_, err := e.peer.Write(content)
	require.NoError(t, err)
	require.NoError(t, e.peer.(halfCloser).CloseWrite())
	require.NoError(t, testkit.Receive(t, copied))
	require.True(t, bytes.Equal(content, testkit.Receive(t, got)))
}

// Behaviour 9.8: net/http serves files, and ranges of them, over the listener.
func TestHTTPServesFilesAndRanges(t *testing.T) {
	content := testkit.Pattern(bodySize)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), content, 0o600))
	overHTTP(t, http.FileServer(http.Dir(dir)), func(t *testing.T, site *webSite) {
		for _, c := range []struct {
			ranges     string
			from, to   int
			statusCode int
		}{
			{"", 0, len(content), http.StatusOK},
			{"bytes=0-0", 0, 1, http.StatusPartialContent},
			{"bytes=1000000-5999999", 1_000_000, 6_000_000, http.StatusPartialContent},
			{"bytes=-100000", len(content) - 100_000, len(content), http.StatusPartialContent},
		} {
			req, err := http.NewRequest("GET", site.url+"/file", nil)
			require.NoError(t, err)
			if c.ranges != "" {
				req.Header.Set("Range", c.ranges)
			}
			resp, err := site.client.Do(req)
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, c.statusCode, resp.StatusCode)
			require.True(t, bytes.Equal(content[c.from:c.to], got), "range %q", c.ranges)
		}
	})
}
