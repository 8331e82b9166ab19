package test

// TLS in an event loop: the order of callbacks, handshakes that fail, and what counts as a request.

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// dialCrypto dials with package crypto/tls; the connection is closed when the test ends.
func dialCrypto(t testing.TB, addr net.Addr, config *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: testkit.Timeout}, addr.Network(), addr.String(), config)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*testkit.Timeout)))
	return conn
}

// failure is what WithOnTLSHandshakeError was called with.
type failure struct {
	conn net.Conn
	err  error
}

// failures returns an option that reports failed handshakes, and where.
func failures() (netpoll.Option, <-chan failure) {
	failed := make(chan failure, 16)
	return netpoll.WithOnTLSHandshakeError(func(conn net.Conn, err error) { failed <- failure{conn, err} }), failed
}

func TestTLSCallbacksComeAfterTheHandshake(t *testing.T) {
	overVersions(t, func(t *testing.T, server, client *tls.Config) {
		order := make(chan string, 16)
		addr := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
			text, err := conn.Reader().ReadString(conn.Reader().Len())
			order <- "request " + text
			return err
		}, netpoll.WithTLSConfig(server),
			netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
				order <- "prepare"
				_ = conn.AddCloseCallback(func(netpoll.Connection) error {
					order <- "closed"
					return nil
				})
				return context.Background()
			}),
			netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
				if state := conn.(*netpoll.TLSConnection).ConnectionState(); state.HandshakeComplete {
					order <- "connect"
				}
				return ctx
			}),
			netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { order <- "disconnect" })).Addr()
		raw := testkit.Dial(t, addr)
		require.Equal(t, "prepare", testkit.Receive(t, order))
		testkit.Silent(t, testkit.Calm, order, "a callback without a handshake")
		conn := tls.Client(raw, client)
		require.NoError(t, conn.Handshake())
		require.Equal(t, "connect", testkit.Receive(t, order))
		testkit.Send(t, conn, "hello")
		require.Equal(t, "request hello", testkit.Receive(t, order))
		require.NoError(t, conn.Close())
		require.Equal(t, "disconnect", testkit.Receive(t, order))
		require.Equal(t, "closed", testkit.Receive(t, order))
	})
}

// A client of TLS 1.3 sends its first request with the end of its handshake.
func TestTLSRequestBehindTheHandshakeIsSeen(t *testing.T) {
	server, client := newTLSConfigs(t)
	addr := tlsEcho(t, "tcp", server).Addr()
	for range 20 {
		raw := testkit.Dial(t, addr)
		conn := tls.Client(&lastFlight{Conn: raw}, client)
		testkit.Send(t, conn, "early")
		testkit.Expect(t, conn, "early")
		require.NoError(t, conn.Close())
	}
}

// lastFlight holds the second flight of a client back until the next Write, so that both are one.
type lastFlight struct {
	net.Conn
	writes int
	held   []byte
}

func (l *lastFlight) Write(p []byte) (int, error) {
	if l.writes++; l.writes == 2 {
		l.held = bytes.Clone(p)
		return len(p), nil
	}
	if l.held != nil {
		if _, err := l.Conn.Write(append(l.held, p...)); err != nil {
			return 0, err
		}
		l.held = nil
		return len(p), nil
	}
	return l.Conn.Write(p)
}

func TestTLSRecordsWithoutPlaintextAreNoRequests(t *testing.T) {
	server, client := newTLSConfigs(t)
	requests := make(chan string, 16)
	connected := make(chan bool, 1)
	addr := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		text, err := conn.Reader().ReadString(conn.Reader().Len())
		requests <- text
		return err
	}, netpoll.WithTLSConfig(server), netpoll.WithOnConnect(
		func(ctx context.Context, _ netpoll.Connection) context.Context {
			connected <- true
			return ctx
		})).Addr()
	c := testkit.NewRecordClient(t, testkit.Dial(t, addr), client)
	testkit.Receive(t, connected)
	c.SendRecord(t, testkit.RecordHandshake, testkit.KeyUpdate(false))
	c.SendRecord(t, testkit.RecordApplication, nil)
	part := c.Seal(testkit.RecordApplication, []byte("request"))
	_, err := c.Raw.Write(part[:len(part)-1])
	require.NoError(t, err)
	testkit.Silent(t, testkit.Calm, requests, "OnRequest without plaintext")
	_, err = c.Raw.Write(part[len(part)-1:])
	require.NoError(t, err)
	require.Equal(t, "request", testkit.Receive(t, requests))
}

func TestTLSHandshakeThatFailsHasAPlaceToGo(t *testing.T) {
	config, client := newTLSConfigs(t)
	called := make(chan string, 16)
	option, failed := failures()
	server := testnet.NewServer(t, "tcp", func(context.Context, netpoll.Connection) error {
		called <- "OnRequest"
		return nil
	}, netpoll.WithTLSConfig(config), option,
		netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error {
				called <- "closed"
				return nil
			})
			return nil
		}),
		netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			called <- "OnConnect"
			return ctx
		}),
		netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { called <- "OnDisconnect" }))
	end := func(t *testing.T, peer net.Conn) failure {
		t.Helper()
		f := testkit.Receive(t, failed)
		require.Equal(t, "closed", testkit.Receive(t, called))
		require.Equal(t, peer.LocalAddr().String(), f.conn.RemoteAddr().String())
		return f
	}
	t.Run("plain HTTP", func(t *testing.T) {
		peer := testkit.Dial(t, server.Addr())
		testkit.Send(t, peer, "GET / HTTP/1.0\r\n\r\n")
		var header tls.RecordHeaderError
		require.ErrorAs(t, end(t, peer).err, &header)
		require.Equal(t, "GET /", string(header.RecordHeader[:]))
	})
	t.Run("end", func(t *testing.T) {
		peer := testkit.Dial(t, server.Addr())
		require.NoError(t, peer.Close())
		require.ErrorIs(t, end(t, peer).err, io.EOF)
	})
	t.Run("end inside a record", func(t *testing.T) {
		peer := testkit.Dial(t, server.Addr())
		testkit.Send(t, peer, "\x16\x03\x01\x00\x50hello")
		require.NoError(t, peer.Close())
		require.ErrorIs(t, end(t, peer).err, io.ErrUnexpectedEOF)
	})
	t.Run("the client does not trust it", func(t *testing.T) {
		peer := testkit.Dial(t, server.Addr())
		stranger := client.Clone()
		stranger.RootCAs = x509.NewCertPool()
		err := tls.Client(peer, stranger).Handshake()
		var unknown *tls.CertificateVerificationError
		require.ErrorAs(t, err, &unknown)
		var alert *net.OpError
		require.ErrorAs(t, end(t, peer).err, &alert)
		require.Equal(t, "remote error", alert.Op)
	})
	t.Run("no version in common", func(t *testing.T) {
		peer := testkit.Dial(t, server.Addr())
		old := client.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
		err := tls.Client(peer, old).Handshake()
		var alert *net.OpError // the server's alert arrives before the end
		require.ErrorAs(t, err, &alert)
		require.Equal(t, "remote error", alert.Op)
		require.ErrorContains(t, end(t, peer).err, "unsupported versions")
	})
	testkit.Silent(t, testkit.Calm, called, "a callback")
}

// RecordHeaderError has the connection, for an answer in plain text, as net/http gives it.
func TestTLSServerCanAnswerAPeerInPlainText(t *testing.T) {
	config, _ := newTLSConfigs(t)
	server := testnet.NewServer(t, "tcp", echoAll, netpoll.WithTLSConfig(config),
		netpoll.WithOnTLSHandshakeError(func(_ net.Conn, err error) {
			var header tls.RecordHeaderError
			if errors.As(err, &header) {
				_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\n\r\n")
				_ = header.Conn.Close()
			}
		}))
	peer := testkit.Dial(t, server.Addr())
	testkit.Send(t, peer, "GET / HTTP/1.0\r\n\r\n")
	testkit.ExpectEnd(t, peer, "HTTP/1.0 400 Bad Request\r\n\r\n")
}

func TestTLSHandshakeErrorsAreLogged(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
		config, _ := newTLSConfigs(t)
		peer := testkit.Dial(t, tlsEcho(t, "tcp", config).Addr())
		testkit.Send(t, peer, "not TLS")
		testkit.Receive(t, log.Wrote())
		require.Contains(t, log.String(), "netpoll: TLS handshake with "+peer.LocalAddr().String()+
			": tls: first record does not look like a TLS handshake")
	})
}

// The time counts from accept, whatever the peer sends meanwhile.
func TestTLSHandshakeHasATimeLimit(t *testing.T) {
	config, _ := newTLSConfigs(t)
	option, failed := failures()
	server := testnet.NewServer(t, "tcp", echoAll, netpoll.WithTLSConfig(config), option,
		netpoll.WithTLSHandshakeTimeout(testkit.Short))
	t.Run("silent", func(t *testing.T) {
		peer := testkit.Dial(t, server.Addr())
		require.ErrorIs(t, testkit.Receive(t, failed).err, os.ErrDeadlineExceeded)
		testkit.ExpectEnd(t, peer, "")
	})
	t.Run("slow", func(t *testing.T) {
		peer := testkit.Dial(t, server.Addr())
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			hello := append([]byte("\x16\x03\x01\x20\x00"), make([]byte, 0x2000)...)
			for _, b := range hello {
				select {
				case <-stop:
					return
				case <-time.After(testkit.Short / 20):
				}
				if _, err := peer.Write([]byte{b}); err != nil {
					return
				}
			}
		}()
		require.ErrorIs(t, testkit.Receive(t, failed).err, os.ErrDeadlineExceeded)
	})
}

// Handshakes that wait for their peers do not keep others from beginning, whatever the limit.
func TestTLSHandshakesThatWaitDoNotCount(t *testing.T) {
	config, client := newTLSConfigs(t)
	option, _ := failures()
	server := tlsEcho(t, "tcp", config, netpoll.WithTLSHandshakeLimit(1), option)
	for range 10 { // each leaves a handshake in the middle
		raw := testkit.Dial(t, server.Addr())
		hung := &recordsOnce{Conn: raw, sent: make(chan struct{})}
		go func() { _ = tls.Client(hung, client).Handshake() }()
		testkit.Receive(t, hung.sent)
		_, err := io.ReadFull(raw, make([]byte, 5)) // the answer
		require.NoError(t, err)
	}
	conn := dialCrypto(t, server.Addr(), client)
	testkit.ExpectEcho(t, conn, "served")
}

// recordsOnce sends the first flight, and nothing arrives.
type recordsOnce struct {
	net.Conn
	sent chan struct{}
}

func (r *recordsOnce) Read([]byte) (int, error) {
	close(r.sent)
	return 0, io.EOF
}

func (r *recordsOnce) Write(p []byte) (int, error) {
	select {
	case <-r.sent:
		return len(p), nil
	default:
		return r.Conn.Write(p)
	}
}

// The limit counts those that run: here in a callback.
func TestTLSHandshakeLimitCountsThoseThatRun(t *testing.T) {
	config, client := newTLSConfigs(t)
	var running, most atomic.Int64
	entered, leave := make(chan struct{}, 16), make(chan struct{})
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		entered <- struct{}{}
		<-leave
		running.Add(-1)
		return nil, nil
	}
	server := tlsEcho(t, "tcp", config, netpoll.WithTLSHandshakeLimit(2))
	const clients = 6
	done := make(chan error, clients)
	for range clients {
		raw := testkit.Dial(t, server.Addr())
		go func() { done <- tls.Client(raw, client).Handshake() }()
	}
	testkit.Receive(t, entered)
	testkit.Receive(t, entered)
	testkit.Silent(t, testkit.Calm, entered, "a third handshake")
	close(leave)
	for range clients {
		require.NoError(t, testkit.Receive(t, done))
	}
	require.EqualValues(t, 2, most.Load())
}

func TestTLSOnPrepareCanTurnPeersAway(t *testing.T) {
	config, _ := newTLSConfigs(t)
	option, failed := failures()
	server := testnet.NewServer(t, "tcp", echoAll, netpoll.WithTLSConfig(config), option,
		netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			_ = conn.Close()
			return nil
		}))
	testkit.ExpectEnd(t, testkit.Dial(t, server.Addr()), "")
	testkit.Silent(t, testkit.Calm, failed, "a failure")
}

func TestTLSShutdownDoesNotWaitForHandshakes(t *testing.T) {
	config, client := newTLSConfigs(t)
	connected := make(chan bool, 1)
	server := testnet.NewServer(t, "tcp", echoAll, netpoll.WithTLSConfig(config), netpoll.WithTLSHandshakeTimeout(-1),
		netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			connected <- true
			return ctx
		}))
	silent, slow := testkit.Dial(t, server.Addr()), testkit.Dial(t, server.Addr())
	testkit.Send(t, slow, "\x16\x03\x01\x00\x50hello")
	open := dialCrypto(t, server.Addr(), client)
	testkit.Receive(t, connected)
	server.Stop()
	testkit.ExpectEnd(t, silent, "")
	testkit.ExpectEnd(t, slow, "")
	testkit.ExpectEnd(t, open, "") // with close_notify
}

func TestTLSGetConfigForClientSeesTheConnection(t *testing.T) {
	config, client := newTLSConfigs(t)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		own := config.Clone()
		own.GetConfigForClient = nil
		own.NextProtos = []string{hello.Conn.RemoteAddr().String(), "other"}
		return own, nil
	}
	server := tlsEcho(t, "tcp", config)
	raw := testkit.Dial(t, server.Addr())
	client.NextProtos = []string{"other", raw.LocalAddr().String()}
	conn := tls.Client(raw, client)
	testkit.ExpectEcho(t, conn, "hello")
	require.Equal(t, raw.LocalAddr().String(), conn.ConnectionState().NegotiatedProtocol)
	require.NoError(t, conn.Close())
}

func TestTLSClientCertificates(t *testing.T) {
	overVersions(t, func(t *testing.T, config, client *tls.Config) {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, client.RootCAs
		config.VerifyConnection = func(tls.ConnectionState) error { return nil }
		option, failed := failures()
		names := make(chan string, 1)
		server := testnet.NewServer(t, "tcp", echoAll, netpoll.WithTLSConfig(config), option, netpoll.WithOnConnect(
			func(ctx context.Context, conn netpoll.Connection) context.Context {
				names <- conn.(*netpoll.TLSConnection).ConnectionState().PeerCertificates[0].DNSNames[0]
				return ctx
			}))
		conn := tls.Client(testkit.Dial(t, server.Addr()), client)
		_ = conn.Handshake() // TLS 1.3 learns of the refusal by its first read
		_, err := conn.Read(make([]byte, 1))
		require.ErrorContains(t, err, "remote error: tls: ")
		require.ErrorContains(t, testkit.Receive(t, failed).err, "didn't provide a certificate")
		with := client.Clone()
		with.Certificates = config.Certificates
		testkit.ExpectEcho(t, dialCrypto(t, server.Addr(), with), "hello")
		require.Equal(t, tlsServerName, testkit.Receive(t, names))
	})
}

// The config is used as it is: clones would not share the keys of tickets.
func TestTLSSessionsAreResumed(t *testing.T) {
	overVersions(t, func(t *testing.T, config, client *tls.Config) {
		server := tlsEcho(t, "tcp", config)
		client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		for i := range 3 {
			conn, err := (&netpoll.TLSDialer{Config: client}).Dial("tcp", server.Addr().String())
			require.NoError(t, err)
			testkit.ExpectEcho(t, conn, "hello")
			require.Equal(t, i > 0, conn.(*netpoll.TLSConnection).ConnectionState().DidResume)
			require.NoError(t, conn.Close())
		}
	})
}

func TestTLSALPN(t *testing.T) {
	config, client := newTLSConfigs(t)
	config.NextProtos, client.NextProtos = []string{"h2", "http/1.1"}, []string{"http/1.1"}
	names := make(chan string, 1)
	server := tlsEcho(t, "tcp", config, netpoll.WithOnConnect(
		func(ctx context.Context, conn netpoll.Connection) context.Context {
			names <- conn.(*netpoll.TLSConnection).ConnectionState().NegotiatedProtocol
			return ctx
		}))
	conn, err := (&netpoll.TLSDialer{Config: client}).Dial("tcp", server.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, "http/1.1", testkit.Receive(t, names))
	require.Equal(t, "http/1.1", conn.(*netpoll.TLSConnection).ConnectionState().NegotiatedProtocol)
}
