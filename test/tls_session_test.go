package test

// Sessions of TLS: timeouts, the end, KeyUpdate, what an idle one costs, and the change to TLS of a connection in use.

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/cloudwego/netpoll/internal/tlsrecord"
	"github.com/stretchr/testify/require"
)

// servedTLS returns a connection with TLS that an event loop accepted, and what dial makes its peer. No handler takes its
// input.
func servedTLS(t *testing.T, network string, config *tls.Config, dial func(addr net.Addr)) *netpoll.TLSConnection {
	t.Helper()
	accepted := make(chan netpoll.Connection, 1)
	server := testnet.NewServer(t, network, nil, netpoll.WithTLSConfig(config), netpoll.WithOnConnect(
		func(ctx context.Context, conn netpoll.Connection) context.Context {
			accepted <- conn
			return ctx
		}))
	dial(server.Addr())
	conn := testkit.Receive(t, accepted)
	t.Cleanup(func() { conn.Close() })
	return conn.(*netpoll.TLSConnection)
}

// tlsPair is servedTLS with a peer of package crypto/tls.
func tlsPair(t *testing.T, config, client *tls.Config) (conn *netpoll.TLSConnection, peer *tls.Conn) {
	t.Helper()
	conn = servedTLS(t, "tcp", config, func(addr net.Addr) { peer = dialCrypto(t, addr, client) })
	return conn, peer
}

// The last output of TLS is sent by a task of its own over a net.Conn, which may start while OnConnect still returns: the
// race detector watches that they share nothing.
func TestTLSCloseBesideOnConnect(t *testing.T) {
	config, client := newTLSConfigs(t)
	for range 50 {
		conn, peer := tlsPair(t, config, client)
		require.NoError(t, conn.Close())
		require.NoError(t, peer.Close())
	}
}

// A tls.Conn is broken for ever by a write timeout.
func TestTLSWriteTimeoutLeavesTheSessionIntact(t *testing.T) {
	overVersions(t, func(t *testing.T, config, client *tls.Config) {
		conn, peer := tlsPair(t, config, client)
		require.NoError(t, conn.SetWriteTimeout(testkit.Short))
		stream := testkit.Stream{}
		var sent int64
		for {
			p := stream.Piece(sent, 60_000)
			n, err := conn.Write(p)
			sent += int64(n)
			if err != nil {
				require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
				break
			}
		}
		require.True(t, conn.IsActive())
		n, _ := conn.Write(stream.Piece(sent, 10)) // there may be room again, or not
		sent += int64(n)
		read := make(chan []byte, 1)
		go func() {
			p, _ := io.ReadAll(peer)
			read <- p
		}()
		require.NoError(t, conn.SetWriteTimeout(testkit.Timeout))
		_, err := conn.Write(stream.Piece(sent, 1000))
		require.NoError(t, err)
		sent += 1000
		require.NoError(t, conn.Close())
		got := testkit.Receive(t, read)
		require.EqualValues(t, -1, stream.Differs(0, got[:min(len(got), int(sent))]))
		require.Len(t, got, int(sent))
	})
}

// What a Flush could not send stays, in order, and the next Flush sends it first.
func TestTLSFlushAfterATimeoutSendsTheRestFirst(t *testing.T) {
	config, client := newTLSConfigs(t)
	conn, peer := tlsPair(t, config, client)
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(testkit.Short)))
	data := testkit.Pattern(16 << 20)
	_, err := conn.Writer().WriteBinary(data)
	require.NoError(t, err)
	require.ErrorIs(t, conn.Writer().Flush(), netpoll.ErrWriteTimeout)
	require.NoError(t, conn.SetWriteDeadline(time.Time{}))
	flushed := make(chan error, 1)
	go func() {
		_, err := conn.Writer().WriteString("end")
		flushed <- errors.Join(err, conn.Writer().Flush())
	}()
	got := make([]byte, len(data)+3)
	_, err = io.ReadFull(peer, got)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, flushed))
	require.True(t, bytes.Equal(append(data, "end"...), got))
}

func TestTLSDeadlinesForReadingAreThoseOfCalls(t *testing.T) {
	config, client := newTLSConfigs(t)
	ln := netpoll.NewTLSListener(testnet.Listen(t, "tcp"), config)
	raw := testkit.Dial(t, ln.Addr())
	accepted, err := ln.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	conn := accepted.(*netpoll.TLSConnection)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Short)))
	require.ErrorIs(t, conn.Handshake(), os.ErrDeadlineExceeded)
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	peer := tls.Client(raw, client)
	require.NoError(t, peer.Handshake())
	require.NoError(t, conn.Handshake())
	require.NoError(t, conn.SetReadTimeout(testkit.Short))
	_, err = conn.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrReadTimeout)
	testkit.Send(t, peer, "late")
	testkit.Expect(t, conn, "late")
}

func TestTLSHandshakeContextEndsTheSession(t *testing.T) {
	config, client := newTLSConfigs(t)
	ln := netpoll.NewTLSListener(testnet.Listen(t, "tcp"), config)
	raw := testkit.Dial(t, ln.Addr())
	conn, err := ln.Accept()
	require.NoError(t, err)
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := testkit.Blocked(t, func() error { return conn.(*netpoll.TLSConnection).HandshakeContext(ctx) })
	cancel()
	require.ErrorIs(t, testkit.Receive(t, ended), context.Canceled)
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, context.Canceled)
	_, err = conn.Write(make([]byte, 1))
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, conn.Close())
	require.Error(t, tls.Client(raw, client).Handshake())
}

// As with tls.NewListener, nothing happens before the first use.
func TestTLSHandshakeOfAnAcceptedConnectionBeginsWithItsUse(t *testing.T) {
	config, client := newTLSConfigs(t)
	asked := make(chan struct{}, 1)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		asked <- struct{}{}
		return nil, nil
	}
	ln := netpoll.NewTLSListener(testnet.Listen(t, "tcp"), config)
	for _, use := range []struct {
		name string
		use  func(conn *netpoll.TLSConnection) error
	}{
		{"Handshake", func(conn *netpoll.TLSConnection) error { return conn.Handshake() }},
		{"Read", func(conn *netpoll.TLSConnection) error { return testkit.ErrorOf(conn.Read(make([]byte, 1))) }},
		{"Next", func(conn *netpoll.TLSConnection) error { return testkit.ErrorOf(conn.Reader().Next(1)) }},
		{"Until", func(conn *netpoll.TLSConnection) error { return testkit.ErrorOf(conn.Reader().Until('!')) }},
		{"Write", func(conn *netpoll.TLSConnection) error { return testkit.ErrorOf(conn.Write([]byte("x"))) }},
		{"Flush", func(conn *netpoll.TLSConnection) error {
			return errors.Join(conn.Writer().WriteByte('x'), conn.Writer().Flush())
		}},
		{"SetOnRequest", func(conn *netpoll.TLSConnection) error { return conn.SetOnRequest(echoAll) }},
	} {
		t.Run(use.name, func(t *testing.T) {
			raw := testkit.Dial(t, ln.Addr())
			peer := tls.Client(raw, client)
			done := make(chan error, 1)
			go func() { done <- errors.Join(peer.Handshake(), testkit.ErrorOf(peer.Write([]byte("!")))) }()
			conn, err := ln.Accept()
			require.NoError(t, err)
			defer conn.Close()
			testkit.Silent(t, testkit.Calm, asked, "a handshake")
			used := make(chan error, 1)
			go func() { used <- use.use(conn.(*netpoll.TLSConnection)) }()
			testkit.Receive(t, asked)
			require.NoError(t, testkit.Receive(t, done))
			require.NoError(t, testkit.Receive(t, used))
		})
	}
}

func TestTLSEndOfTheStream(t *testing.T) {
	overVersions(t, func(t *testing.T, config, client *tls.Config) {
		t.Run("close_notify of the peer", func(t *testing.T) {
			conn, peer := tlsPair(t, config, client)
			testkit.Send(t, peer, "last")
			require.NoError(t, peer.CloseWrite())
			testkit.ExpectEnd(t, conn, "last")
			require.False(t, conn.IsActive())
			_, err := conn.Reader().Next(1)
			require.ErrorIs(t, err, netpoll.ErrEOF)
			testkit.Send(t, conn, "answer") // the other direction goes on
			require.NoError(t, conn.Close())
			testkit.ExpectEnd(t, peer, "answer")
		})
		t.Run("close_notify of this side", func(t *testing.T) {
			conn, peer := tlsPair(t, config, client)
			testkit.Send(t, conn, "last")
			require.NoError(t, conn.CloseWrite())
			testkit.ExpectEnd(t, peer, "last")
			_, err := conn.Write([]byte("x"))
			require.ErrorIs(t, err, syscall.EPIPE)
			testkit.Send(t, peer, "answer")
			testkit.Expect(t, conn, "answer")
		})
		t.Run("cut between records", func(t *testing.T) {
			conn, peer := tlsPair(t, config, client)
			testkit.Send(t, peer, "last")
			require.NoError(t, peer.NetConn().Close())
			testkit.ExpectEnd(t, conn, "last") // as with crypto/tls
		})
		t.Run("cut inside a record", func(t *testing.T) {
			conn, peer := tlsPair(t, config, client)
			testkit.Send(t, peer, "last")
			_, err := peer.NetConn().Write([]byte{23, 3, 3, 0, 100, 1, 2, 3})
			require.NoError(t, err)
			require.NoError(t, peer.NetConn().Close())
			testkit.Expect(t, conn, "last")
			for _, err := range []error{
				testkit.ErrorOf(conn.Read(make([]byte, 1))), testkit.ErrorOf(conn.Reader().Next(1)),
			} {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				require.ErrorIs(t, err, netpoll.ErrConnClosed)
				require.NotErrorIs(t, err, io.EOF)
				require.NotErrorIs(t, err, netpoll.ErrEOF)
			}
		})
		t.Run("reset", func(t *testing.T) {
			conn, peer := tlsPair(t, config, client)
			testkit.Reset(t, peer.NetConn())
			_, err := conn.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
		})
		t.Run("bad record", func(t *testing.T) {
			conn, peer := tlsPair(t, config, client)
			_, err := peer.NetConn().Write(append([]byte{23, 3, 3, 0, 100}, make([]byte, 100)...))
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 1))
			var alert *net.OpError
			require.ErrorAs(t, err, &alert)
			require.Equal(t, "local error", alert.Op)
			require.ErrorIs(t, err, netpoll.ErrConnClosed)
			_, err = peer.Read(make([]byte, 1))
			require.ErrorAs(t, err, &alert) // the peer gets it
			require.Equal(t, "remote error", alert.Op)
		})
	})
}

// If output that was flushed is lost, the peer must not take what it has for everything.
func TestTLSCloseOfACutStreamIsNotInOrder(t *testing.T) {
	config, client := newTLSConfigs(t)
	conn, peer := tlsPair(t, config, client)
	flushing := testkit.Blocked(t, func() error { return testkit.ErrorOf(conn.Write(testkit.Pattern(32 << 20))) })
	require.NoError(t, conn.Close())
	require.ErrorIs(t, testkit.Receive(t, flushing), netpoll.ErrConnClosed)
	_, err := io.Copy(io.Discard, peer)
	require.Error(t, err)
}

func TestTLSCloseSendsWhatWasFlushed(t *testing.T) {
	overVersions(t, func(t *testing.T, config, client *tls.Config) {
		for _, size := range []int{1, 1000, 60_000} {
			server := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
				_, err := conn.Writer().WriteBinary(testkit.Pattern(size))
				return errors.Join(err, conn.Writer().Flush(), conn.Close())
			}, netpoll.WithTLSConfig(config))
			peer := dialCrypto(t, server.Addr(), client)
			testkit.Send(t, peer, "go")
			got, err := io.ReadAll(peer)
			require.NoError(t, err)
			require.True(t, bytes.Equal(testkit.Pattern(size), got))
		}
	})
}

// Each KeyUpdate of the peer asks for one from here. The answers come between the records of the user.
func TestTLSKeyUpdates(t *testing.T) {
	config, client := newTLSConfigs(t)
	server := tlsEcho(t, "tcp", config)
	c := testkit.NewRecordClient(t, testkit.Dial(t, server.Addr()), client)
	for i := range 100 {
		c.SendRecord(t, testkit.RecordHandshake, testkit.KeyUpdate(i%3 > 0))
		text := strings.Repeat("x", 1+i*i)
		c.SendRecord(t, testkit.RecordApplication, []byte(text))
		testkit.Expect(t, c, text)
	}
}

// A peer that asks for KeyUpdates and reads no answers is not received from until it does.
func TestTLSFloodOfKeyUpdatesIsLimited(t *testing.T) {
	config, client := newTLSConfigs(t)
	var c *testkit.RecordClient
	conn := servedTLS(t, "unix", config, func(addr net.Addr) { // whose buffers are small
		c = testkit.NewRecordClient(t, testkit.Dial(t, addr), client)
	})
	before := testkit.HeapInUse()
	var unsent []byte
	sent := 0
	for {
		for range 1000 {
			unsent = append(unsent, c.Seal(testkit.RecordHandshake, testkit.KeyUpdate(true))...)
			unsent = append(unsent, c.Seal(testkit.RecordApplication, []byte{'x'})...)
			sent++
		}
		require.NoError(t, c.Raw.SetWriteDeadline(time.Now().Add(10*testkit.Short)))
		n, err := c.Raw.Write(unsent)
		unsent = unsent[n:]
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
		require.Less(t, sent, 1_000_000)
		require.NoError(t, testkit.ErrorOf(conn.Reader().Next(conn.Reader().Len())))
		require.NoError(t, conn.Reader().Release())
	}
	require.Less(t, testkit.HeapInUse()-before, int64(8<<20))
	require.True(t, conn.IsActive())
	go func() { _, _ = io.Copy(io.Discard, c.Raw) }() // now the peer reads; its tls.Conn would not take so many answers
	require.NoError(t, c.Raw.SetWriteDeadline(time.Time{}))
	_, err := c.Raw.Write(append(unsent, c.Seal(testkit.RecordApplication, []byte("end"))...))
	require.NoError(t, err)
	line, err := conn.Reader().Until('d')
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(line, []byte("end")))
}

func TestTLSReadLimitHoldsForPlaintext(t *testing.T) {
	config, client := newTLSConfigs(t)
	conn, peer := tlsPair(t, config, client)
	require.NoError(t, conn.SetReadLimit(20_000))
	written := make(chan error, 1)
	data := testkit.Pattern(8 << 20)
	go func() { written <- testkit.ErrorOf(peer.Write(data)) }()
	testnet.Buffered(t, conn, 20_000)
	testkit.Silent(t, testkit.Calm, written, "end of the writing")
	require.LessOrEqual(t, conn.Reader().Len(), 20_000+64<<10)
	got := make([]byte, len(data))
	_, err := io.ReadFull(conn, got)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, written))
	require.True(t, bytes.Equal(data, got))
}

func TestTLSConnectionIsNoPlainOne(t *testing.T) {
	config, client := newTLSConfigs(t)
	conn, peer := tlsPair(t, config, client)
	require.ErrorIs(t, conn.Detach(), netpoll.ErrUnsupported)
	require.Equal(t, peer.LocalAddr().String(), conn.RemoteAddr().String())
	require.Equal(t, peer.LocalAddr().String(), conn.NetConn().RemoteAddr().String())
	require.Positive(t, conn.Fd())
	testkit.Send(t, peer, "still there")
	testkit.Expect(t, conn, "still there")
	// The last of the handshake may be noted as sent only now.
	testkit.Eventually(t, func() bool { return conn.IsHealthyForReuse(testkit.Timeout) })
}

// Without memory that is lent, everything works.
func TestTLSWithoutLentMemory(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		tlsrecord.Lends = false
		overVersions(t, func(t *testing.T, config, client *tls.Config) {
			exchange(t, dialCrypto(t, tlsEcho(t, "tcp", config).Addr(), client), testkit.Pattern(2<<20))
			conn, peer := tlsPair(t, config, client)
			data := testkit.Pattern(100_000)
			for cut := range 50 {
				go func() {
					_, _ = peer.Write(data[:cut])
					_, _ = peer.Write(data[cut:])
				}()
				p, err := conn.Reader().Next(len(data))
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, p))
				require.NoError(t, conn.Reader().Release())
			}
			require.NoError(t, peer.Close())
			testkit.ExpectEnd(t, conn, "")
		})
	})
}
