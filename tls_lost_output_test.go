//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// Sessions of TLS over a transport that fails, and the hand-over from the goroutine of the handshake.

import (
	"crypto/tls"
	"io"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// openSession returns a server after its handshake, and the transport below it.
func openSession(t *testing.T) (s *piecewiseServer, below *fakeTransport) {
	t.Helper()
	s, below, _ = openSessionWith(t)
	return s, below
}

// openSessionWith returns the client as well.
func openSessionWith(t *testing.T) (s *piecewiseServer, below *fakeTransport, client *tls.Conn) {
	t.Helper()
	toClient := newMemoryPipe()
	s = newPiecewiseServer(testTLSConfig(), toClient, 4096, 1)
	t.Cleanup(func() { _ = s.c.Close() })
	client = tls.Client(memoryConn{toClient, writerFunc(s.feed)}, testTLSConfig())
	require.NoError(t, client.Handshake())
	s.wait()
	session := s.session()
	for session.role.taken() || session.out.Len() > 0 {
		s.c.sendOwn()
	}
	return s, session.below.(*fakeTransport), client
}

func (s *piecewiseServer) session() *tlsTransport { return &s.c.self.(*TLSConnection).session }

// failingOnce makes the first send fail with a reset. As with sockets the others see that the stream has ended.
func (f *fakeTransport) failingOnce() {
	failed := false
	f.onSend = func(*vector) (int, error) {
		if failed {
			return 0, syscall.EPIPE
		}
		failed = true
		return 0, syscall.ECONNRESET
	}
}

func TestTLSResetOfOwnOutputIsNoOrderlyEnd(t *testing.T) {
	s, below := openSession(t)
	below.failingOnce()
	_, _ = (*tlsWire)(s.session()).Write([]byte("an answer to KeyUpdate"))
	s.c.sendOwn()
	s.end()
	_, err := s.result()
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestTLSResetInABatchIsNoOrderlyEnd(t *testing.T) {
	s, below := openSession(t)
	below.onSend = func(*vector) (int, error) { return 0, syscall.EPIPE } // the batch gets the reset
	session := s.session()
	below.onSendLater = session.addPending
	_, _ = s.c.WriteString("left to the poller")
	require.NoError(t, s.c.Flush())
	_, ok := session.beginPending()
	require.True(t, ok)
	session.endPending(0, syscall.ECONNRESET)
	s.end()
	_, err := s.result()
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// The goroutine of the handshake does not look at the limit of the input. So it opens only what has waited for it.
func TestTLSNothingIsReceivedForTheGoroutineOfTheHandshake(t *testing.T) {
	s, _ := openSession(t)
	session := s.session()
	require.True(t, session.role.take()) // as that goroutine
	require.True(t, session.begin(evRead))
	require.False(t, session.wants(false))
	require.Zero(t, session.interest()&evRead)
	session.end()
	require.True(t, session.role.release())
	session.resumeUnopened()
	require.NotZero(t, session.interest()&evRead)
	require.True(t, session.begin(evRead))
	require.True(t, session.wants(false))
	session.end()
}

// A handshake whose flight is lost does not wait for the answer.
func TestTLSHandshakeEndsWhenItsFlightIsLost(t *testing.T) {
	side := &tlsSide{config: testTLSConfig(), client: true}
	c := newSession("", side)
	c.transport = &fakeTransport{onSend: func(*vector) (int, error) { return 0, syscall.ENOBUFS }}
	c.beginSession(side)
	require.NoError(t, c.start(causePoller))
	defer c.Close()
	failed := make(chan error, 1)
	go func() { failed <- c.self.(*TLSConnection).Handshake() }()
	require.ErrorIs(t, testkit.Receive(t, failed), syscall.ENOBUFS)
}

// What a send with a passing error has left is sent later, and so it counts as taken: else it would be sent twice.
func TestTLSOutputIsSentOnceThoughASendFails(t *testing.T) {
	s, below, client := openSessionWith(t)
	send, fails := below.onSend, true
	below.onSend = func(v *vector) (int, error) {
		if fails = !fails; !fails {
			return 0, syscall.ENOBUFS
		}
		return send(v)
	}
	const text = "sent once"
	for taken := 0; taken < len(text); {
		n, err := s.c.Write([]byte(text)[taken:])
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOBUFS)
		}
		taken += n
	}
	below.onSend = send
	require.NoError(t, s.c.Close())
	got := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(client)
		got <- string(all)
	}()
	require.Equal(t, text, testkit.Receive(t, got))
}

// Where only output of the session is lost no call returns the error. The stream then ends for both sides.
func TestTLSLossOfOwnOutputEndsTheStream(t *testing.T) {
	s, below := openSession(t)
	shut := false
	below.onSend = func(*vector) (int, error) { return 0, syscall.ENOBUFS }
	below.onCloseWrite = func() { shut = true }
	_, _ = (*tlsWire)(s.session()).Write([]byte("an answer to KeyUpdate"))
	s.c.sendOwn()
	require.True(t, shut)
	require.False(t, s.c.IsActive())
	_, err := s.c.Write([]byte("more"))
	require.ErrorIs(t, err, syscall.ENOBUFS)
}

// Flush has promised to send what is lost here: the peer must not wait for it.
func TestTLSLossOfPendingOutputEndsTheStream(t *testing.T) {
	for name, fail := range map[string]func(s *tlsTransport){
		"in a batch": func(s *tlsTransport) { s.endPending(0, syscall.ENOBUFS) },
		"behind it":  func(s *tlsTransport) { s.endPending(0, errNotExecuted) },
	} {
		t.Run(name, func(t *testing.T) {
			s, below := openSession(t)
			shut := false
			below.onSend = func(*vector) (int, error) { return 0, syscall.ENOBUFS }
			below.onCloseWrite = func() { shut = true }
			session := s.session()
			below.onSendLater = session.addPending
			_, _ = s.c.WriteString("left to the poller")
			require.NoError(t, s.c.Flush())
			_, ok := session.beginPending()
			require.True(t, ok)
			fail(session)
			require.True(t, shut)
			require.False(t, s.c.IsActive())
		})
	}
}
