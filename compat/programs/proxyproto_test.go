package programs

// pires/go-proxyproto: its listener wraps another. Its connections read the PROXY header in the first call of Read,
// LocalAddr or RemoteAddr, so these calls wait for the client.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// whoAsks is the client in the headers, whoAnswers the server.
var (
	whoAsks    = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}
	whoAnswers = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 80}
)

// behindProxy wraps a listener on a free port of the side. There is no timeout for the header.
func behindProxy(t *testing.T, on sides) net.Listener {
	return &proxyproto.Listener{Listener: on.listen(t), ReadHeaderTimeout: -1}
}

// whois connects as a proxy does, with a header of that version, or without a header if version is 0. It asks the server
// for the address of the client, and returns the answer.
func whois(t *testing.T, address string, version byte) string {
	t.Helper()
	conn := rawDial(t, address)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(soon)))
	if version != 0 {
		_, err := proxyproto.HeaderProxyFromAddrs(version, whoAsks, whoAnswers).WriteTo(conn)
		require.NoError(t, err)
	}
	_, err := fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

// askAll asks with every version. Before each, it opens a connection that sends no header, or only a part of one.
func askAll(t *testing.T, address string) {
	for _, version := range []byte{1, 2, 1, 2, 0} {
		silent := rawDial(t, address)
		defer silent.Close()
		if version == 1 {
			_, err := fmt.Fprint(silent, "PROXY TC") // only a part of the header
			require.NoError(t, err)
		}
		got := whois(t, address, version)
		if version == 0 {
			require.Contains(t, got, "127.0.0.1:")
		} else {
			require.Equal(t, whoAsks.String(), got)
		}
	}
}

func TestProxyProtocolBelowHTTP(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		ln := behindProxy(t, on)
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.RemoteAddr)
		})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln) }()
		askAll(t, ln.Addr().String())
		require.NoError(t, s.Close())
		require.ErrorIs(t, await(t, served, "the end of Serve"), http.ErrServerClosed)
	})
}

// answerWhois answers a request with the address of its client, once the whole request has arrived.
func answerWhois(_ context.Context, conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	defer r.Release()
	for {
		line, err := r.Until('\n')
		if err != nil {
			return err
		}
		if string(line) == "\r\n" {
			break
		}
	}
	address := conn.RemoteAddr().String()
	answer := fmt.Sprintf("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(address), address)
	if _, err := w.WriteString(answer); err != nil {
		return err
	}
	return w.Flush()
}

// overListeners runs test twice: the wrapped listener is of package net, and of the library.
func overListeners(t *testing.T, test func(t *testing.T, on sides)) {
	for _, on := range []sides{{name: "listener of net"}, {name: "listener of netpoll", server: true}} {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			test(t, on)
		})
	}
}

// Behaviour 9.6, 6.3: an event loop serves a wrapped listener of either library, as it is or converted.
func TestProxyProtocolBelowAnEventLoop(t *testing.T) {
	for name, convert := range map[string]bool{"served": false, "converted": true} {
		t.Run(name, func(t *testing.T) {
			overListeners(t, func(t *testing.T, on sides) {
				ln := behindProxy(t, on)
				if convert {
					converted, err := netpoll.ConvertListener(ln)
					require.NoError(t, err)
					ln = converted
				}
				loop, err := netpoll.NewEventLoop(answerWhois)
				require.NoError(t, err)
				served := make(chan error, 1)
				go func() { served <- loop.Serve(ln) }()
				t.Cleanup(func() {
					ctx, cancel := context.WithTimeout(context.Background(), soon)
					defer cancel()
					require.NoError(t, loop.Shutdown(ctx))
					require.NoError(t, await(t, served, "the end of Serve"))
				})
				askAll(t, ln.Addr().String())
			})
		})
	}
}

// Behaviour 9.6: Accept does not call RemoteAddr or LocalAddr either, so it does not wait for the client.
func TestProxyProtocolConnectionsAreAcceptedWithoutAWord(t *testing.T) {
	overListeners(t, func(t *testing.T, on sides) {
		ln, err := netpoll.ConvertListener(behindProxy(t, on))
		require.NoError(t, err)
		defer ln.Close()
		silent := rawDial(t, ln.Addr().String())
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, _ := ln.Accept()
			accepted <- conn
		}()
		var conn net.Conn
		select {
		case conn = <-accepted:
		case <-time.After(soon):
			require.Fail(t, "a silent client was not accepted")
		}
		require.NotNil(t, conn)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))

		_, err = proxyproto.HeaderProxyFromAddrs(2, whoAsks, whoAnswers).WriteTo(silent)
		require.NoError(t, err)
		_, err = io.WriteString(silent, "hello")
		require.NoError(t, err)
		require.Equal(t, whoAsks.String(), conn.RemoteAddr().String())
		require.Equal(t, whoAnswers.String(), conn.LocalAddr().String())
		got := make([]byte, len("hello"))
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
	})
}
