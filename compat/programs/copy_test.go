package programs

// The usual proxy: io.Copy in both directions, and half-close at the end of each. And files over HTTP, which net/http
// copies with io.Copy, too.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type halfCloser interface{ CloseWrite() error }

// copyBothWays is the proxy for one client.
func copyBothWays(t *testing.T, on sides, client net.Conn, upstream string) {
	server, err := on.dialBounded(timeLimit(t), upstream)
	if err != nil {
		t.Error(err)
		return
	}
	defer server.Close()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		wg.Go(func() {
			_, err := io.Copy(way[1], way[0])
			if err = errors.Join(err, way[1].(halfCloser).CloseWrite()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// The server answers when it has read the client's stream to its end.
func TestCopyProxyCarriesBothDirectionsToTheirEnd(t *testing.T) {
	const clients, size = 4, 2 << 20
	againstNet(t, func(t *testing.T, on sides) {
		upstream := sides{}.serveEach(t, func(conn net.Conn) {
			sum, err := digestOf(conn)
			fmt.Fprint(conn, sum, orNothing(err), "\n")
			_, _ = io.Copy(conn, bytes.NewReader(pattern(99, size)))
		})
		proxy := on.serveEach(t, func(conn net.Conn) { copyBothWays(t, on, conn, upstream) })
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				sent := pattern(i, i*size/clients)
				got, err := sendAndReadAll(proxy, sent)
				want := digest(append([]byte(digest(sent)+"\n"), pattern(99, size)...))
				if err != nil || got != want {
					t.Errorf("client %d: %s for %s, %v", i, got, want, err)
				}
			})
		}
		wg.Wait()
	})
}

// sendAndReadAll sends p and the end of the stream, and returns the digest of the answer.
func sendAndReadAll(address string, p []byte) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := conn.Write(p); err != nil {
		return "", err
	}
	if err := conn.(halfCloser).CloseWrite(); err != nil {
		return "", err
	}
	return digestOf(conn)
}

// The server echoes while it receives. The client sends more than fits into the buffers on the way.
func TestCopyProxyCarriesBothDirectionsAtOnce(t *testing.T) {
	const size = 8 << 20
	againstNet(t, func(t *testing.T, on sides) {
		upstream := sides{}.serveEach(t, func(conn net.Conn) {
			_, err := io.Copy(conn, conn)
			if err = errors.Join(err, conn.(halfCloser).CloseWrite()); err != nil {
				t.Error(err)
			}
		})
		proxy := on.serveEach(t, func(conn net.Conn) { copyBothWays(t, on, conn, upstream) })
		conn := rawDial(t, proxy)
		sent := pattern(1, size)
		done := make(chan error, 1)
		go func() {
			_, err := io.Copy(conn, bytes.NewReader(sent))
			done <- errors.Join(err, conn.CloseWrite())
		}()
		got, err := digestOf(conn)
		require.NoError(t, err)
		require.Equal(t, digest(sent), got)
		require.NoError(t, await(t, done, "the end of sending"))
	})
}

// fileSite serves one file with http.FileServer.
func fileSite(t *testing.T, on sides, p []byte) *webSite {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file.bin"), p, 0o600))
	return startSite(t, on, http1, http.FileServer(http.Dir(dir)))
}

// askForFile requests the file with a header and returns the answer and its body.
func askForFile(t *testing.T, s *webSite, method, name, value string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(timeLimit(t), method, s.url+"/file.bin", nil)
	require.NoError(t, err)
	if name != "" {
		req.Header.Set(name, value)
	}
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, body
}

// Behaviour 9.8: net/http copies the file to the connection, in whole or in part.
func TestFilesAreServedInWholeAndInPart(t *testing.T) {
	const size = 3<<20 + 3
	file := pattern(0, size)
	againstNet(t, func(t *testing.T, on sides) {
		s := fileSite(t, on, file)
		for range 2 {
			resp, got := askForFile(t, s, http.MethodGet, "", "")
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.EqualValues(t, size, resp.ContentLength)
			require.Equal(t, digest(file), digest(got))

			resp, got = askForFile(t, s, http.MethodHead, "", "")
			require.EqualValues(t, size, resp.ContentLength)
			require.Empty(t, got)

			resp, _ = askForFile(t, s, http.MethodGet, "If-Modified-Since", resp.Header.Get("Last-Modified"))
			require.Equal(t, http.StatusNotModified, resp.StatusCode)
		}
		for _, r := range [][2]int{{0, 0}, {0, 511}, {100, 1<<20 + 99}, {1, size - 2}, {size - 1, size - 1}} {
			resp, got := askForFile(t, s, http.MethodGet, "Range", fmt.Sprintf("bytes=%d-%d", r[0], r[1]))
			require.Equal(t, http.StatusPartialContent, resp.StatusCode)
			require.Equal(t, digest(file[r[0]:r[1]+1]), digest(got))
		}
		resp, _ := askForFile(t, s, http.MethodGet, "Range", fmt.Sprintf("bytes=%d-", size))
		require.Equal(t, http.StatusRequestedRangeNotSatisfiable, resp.StatusCode)
		require.EqualValues(t, 1, s.conns.Load(), "connections")
	})
}

// The answer to several ranges is one body of several parts, which net/http writes from a goroutine of its own.
func TestFilesAreServedInSeveralParts(t *testing.T) {
	const size = 4 << 20
	file := pattern(0, size)
	againstNet(t, func(t *testing.T, on sides) {
		s := fileSite(t, on, file)
		resp, body := askForFile(t, s, http.MethodGet, "Range", fmt.Sprintf("bytes=5-9,1000-1999999,%d-", size-7))
		require.Equal(t, http.StatusPartialContent, resp.StatusCode)
		_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		require.NoError(t, err)
		parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for _, want := range [][]byte{file[5:10], file[1000:2_000_000], file[size-7:]} {
			part, err := parts.NextPart()
			require.NoError(t, err)
			got, err := digestOf(part)
			require.NoError(t, err)
			require.Equal(t, digest(want), got)
		}
	})
}
