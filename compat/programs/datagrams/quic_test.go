package datagrams

// quic-go, which receives and sends by the methods and by the descriptor of a socket, whatever it finds there.

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"
)

// What makes quic-go use more than ReadFrom and WriteTo.
var _ quic.OOBCapablePacketConn = (*netpoll.UDPConn)(nil)

// certificate makes the configurations of a server and of its clients.
func certificate(t testing.TB, protocols ...string) (server, client *tls.Config) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}, NextProtos: protocols}
	return server, &tls.Config{RootCAs: roots, ServerName: "test", NextProtos: protocols}
}

// quicServer echoes each stream.
type quicServer struct {
	*quic.Listener
	client *tls.Config
	conns  chan *quic.Conn
}

// serveQUIC serves a socket until the end of the test.
func serveQUIC(t *testing.T, conn net.PacketConn) *quicServer {
	t.Helper()
	server, client := certificate(t, "echo")
	transport := &quic.Transport{Conn: conn}
	ln, err := transport.Listen(server, nil)
	require.NoError(t, err)
	s := &quicServer{ln, client, make(chan *quic.Conn, 10)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept(t.Context())
			if err != nil {
				return
			}
			s.conns <- conn
			running.Go(func() { echoQUIC(t, conn) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, transport.Close())
		running.Wait()
	})
	return s
}

func echoQUIC(t *testing.T, conn *quic.Conn) {
	for {
		stream, err := conn.AcceptStream(t.Context())
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(stream, stream)
			_ = stream.Close()
		}()
	}
}

// dialQUIC dials from a socket.
func (s *quicServer) dial(t *testing.T, conn net.PacketConn, to net.Addr) *quic.Conn {
	t.Helper()
	transport := &quic.Transport{Conn: conn}
	c, err := transport.Dial(timeLimit(t), to, s.client, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = c.CloseWithError(0, "")
		require.NoError(t, transport.Close())
	})
	return c
}

// echo sends n bytes on a new stream, and fails if anything else comes back.
func echo(t *testing.T, conn *quic.Conn, seed, n int) error {
	stream, err := conn.OpenStreamSync(timeLimit(t))
	if err != nil {
		return err
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(stream, pattern(seed, n))
		sent <- err
		_ = stream.Close()
	}()
	got, err := digestOf(stream)
	if want, _ := digestOf(pattern(seed, n)); err == nil && got != want {
		err = fmt.Errorf("%s came back for %s", got, want)
	}
	if failed := <-sent; failed != nil {
		return failed
	}
	return err
}

func TestQUICTransfersBothWays(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		s := serveQUIC(t, socket(t, on.server, "127.0.0.1:0"))
		conn := s.dial(t, socket(t, on.client, "127.0.0.1:0"), s.Addr())
		require.NoError(t, echo(t, conn, 1, 2<<20))
		var streams sync.WaitGroup
		for i := range 10 {
			streams.Go(func() {
				if err := echo(t, conn, i, i*10_000); err != nil {
					t.Errorf("stream %d: %v", i, err)
				}
			})
		}
		streams.Wait()
	})
}

// Several clients on one socket of the library, which a relay sees as one peer.
func TestQUICTransfersThroughALossyRelay(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		s := serveQUIC(t, socket(t, on.server, "127.0.0.1:0"))
		r := newRelay(t, s.Addr(), true)
		transport := &quic.Transport{Conn: socket(t, on.client, "127.0.0.1:0")}
		t.Cleanup(func() { require.NoError(t, transport.Close()) })
		var clients sync.WaitGroup
		for i := range 2 {
			conn, err := transport.Dial(timeLimit(t), r.front.LocalAddr(), s.client, nil)
			require.NoError(t, err)
			clients.Go(func() {
				if err := echo(t, conn, i, 200_000); err != nil {
					t.Error(err)
				}
				_ = conn.CloseWithError(0, "")
			})
		}
		clients.Wait()
		require.NotZero(t, r.lost.Load())
		require.NotZero(t, r.repeated.Load())
		require.NotZero(t, r.late.Load())
	})
}

// quic-go finds in a socket of the library what it finds in one of package net, and uses it.
func TestQUICFindsWhatTheSocketCanDo(t *testing.T) {
	type abilities struct {
		segments [2]bool // of the client, and of the server
		marked   bool    // with congestion bits
		local    string  // the address that a client has asked for
	}
	find := func(t *testing.T, on sides) (found abilities) {
		s := serveQUIC(t, socket(t, on.server, ":0"))
		r := newRelay(t, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.Addr().(*net.UDPAddr).Port}, false)
		conn := s.dial(t, socket(t, on.client, "127.0.0.1:0"), r.front.LocalAddr())
		require.NoError(t, echo(t, conn, 1, 200_000))
		server := await(t, s.conns, "the connection")
		local := *server.LocalAddr().(*net.UDPAddr)
		found.segments = [2]bool{conn.ConnectionState().GSO, server.ConnectionState().GSO}
		found.marked, found.local = r.marked.Load() > 0, local.IP.String()
		return found
	}
	want := find(t, sides{})
	if runtime.GOOS == "linux" {
		require.Equal(t, "127.0.0.1", want.local)
		require.True(t, want.marked)
	}
	for name, on := range map[string]sides{"server": {true, false}, "client": {false, true}, "both": {true, true}} {
		t.Run(name, func(t *testing.T) { require.Equal(t, want, find(t, on)) })
	}
}

// A socket that was closed by the program ends what quic-go does with it.
func TestQUICEndsWithItsSocket(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		socketOfServer := socket(t, on.server, "127.0.0.1:0")
		s := serveQUIC(t, socketOfServer)
		conn := s.dial(t, socket(t, on.client, "127.0.0.1:0"), s.Addr())
		require.NoError(t, echo(t, conn, 1, 1000))
		server := await(t, s.conns, "the connection")
		require.NoError(t, socketOfServer.Close())
		await(t, server.Context().Done(), "the end of the connection")
	})
}

func TestHTTP3Serves(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		config, client := certificate(t, http3.NextProtoH3)
		server := &http3.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})}
		conn := socket(t, on.server, "127.0.0.1:0")
		served := make(chan error, 1)
		go func() { served <- server.Serve(conn) }()
		transport := &quic.Transport{Conn: socket(t, on.client, "127.0.0.1:0")}
		over := &http3.Transport{TLSClientConfig: client,
			Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
				return transport.Dial(ctx, conn.LocalAddr(), tlsConfig, config)
			}}
		for i, n := range []int{0, 1, 100_000, 2_000_000} {
			answer, err := (&http.Client{Transport: over}).Post("https://test/", "text/plain", pattern(i, n))
			require.NoError(t, err)
			got, err := digestOf(answer.Body)
			require.NoError(t, err)
			want, _ := digestOf(pattern(i, n))
			require.Equal(t, want, got)
			require.NoError(t, answer.Body.Close())
		}
		require.NoError(t, over.Close())
		require.NoError(t, transport.Close())
		require.NoError(t, server.Close())
		require.ErrorIs(t, await(t, served, "the end of Serve"), http.ErrServerClosed)
	})
}

// Datagrams of QUIC, one for each of the socket.
func TestQUICCarriesDatagrams(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		config := &quic.Config{EnableDatagrams: true}
		tlsServer, tlsClient := certificate(t, "datagrams")
		ln, err := (&quic.Transport{Conn: socket(t, on.server, "127.0.0.1:0")}).Listen(tlsServer, config)
		require.NoError(t, err)
		transport := &quic.Transport{Conn: socket(t, on.client, "127.0.0.1:0")}
		conn, err := transport.Dial(timeLimit(t), ln.Addr(), tlsClient, config)
		require.NoError(t, err)
		server, err := ln.Accept(timeLimit(t))
		require.NoError(t, err)
		for i := range 50 {
			want := bytes.Repeat([]byte{byte(i)}, 20*i)
			require.NoError(t, conn.SendDatagram(want))
			got, err := server.ReceiveDatagram(timeLimit(t))
			require.NoError(t, err)
			require.Equal(t, want, append([]byte{}, got...))
		}
		require.NoError(t, conn.CloseWithError(0, ""))
		require.NoError(t, transport.Close())
		require.NoError(t, ln.Close())
	})
}
