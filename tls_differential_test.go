//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// TLS that is fed in pieces, so that it has to stop anywhere, is compared with crypto/tls on a connection that blocks.
// Both get the same script of records; the piece is what is fuzzed, and the script.

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/tlsrecord"
	"github.com/stretchr/testify/require"
)

// testTLSConfig is for a server, and for a client that does not look at its certificate.
var testTLSConfig = sync.OnceValue(func() *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{testkit.Certificate()},
		InsecureSkipVerify: true,
		CipherSuites:       []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		CurvePreferences:   []tls.CurveID{tls.X25519}, // the quickest
	}
})

// memoryPipe is one direction of a connection in memory: Read waits, Write does not.
type memoryPipe struct {
	mu    sync.Mutex // guards the fields below
	bytes []byte
	total int // of all Writes
	ended bool
	news  *sync.Cond
}

func newMemoryPipe() *memoryPipe {
	p := new(memoryPipe)
	p.news = sync.NewCond(&p.mu)
	return p
}

func (p *memoryPipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes = append(p.bytes, b...)
	p.total += len(b)
	p.news.Broadcast()
	return len(b), nil
}

func (p *memoryPipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.bytes) == 0 {
		if p.ended {
			return 0, io.EOF
		}
		p.news.Wait()
	}
	n := copy(b, p.bytes)
	p.bytes = p.bytes[n:]
	return n, nil
}

func (p *memoryPipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.news.Broadcast()
}

func (p *memoryPipe) written() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// memoryConn is a net.Conn in memory.
type memoryConn struct {
	io.Reader
	io.Writer
}

func (memoryConn) Close() error                     { return nil }
func (memoryConn) LocalAddr() net.Addr              { return new(net.TCPAddr) }
func (memoryConn) RemoteAddr() net.Addr             { return new(net.TCPAddr) }
func (memoryConn) SetDeadline(time.Time) error      { return nil }
func (memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (memoryConn) SetWriteDeadline(time.Time) error { return nil }

// writerFunc is an io.Writer.
type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// tlsServerUnderTest is a server that is given the bytes of a client.
type tlsServerUnderTest interface {
	feed(p []byte)
	end()
	wait() // until the handshake is over
	result() (plain []byte, err error)
}

// blockingServer is crypto/tls on a connection that blocks.
type blockingServer struct {
	in    *memoryPipe
	conn  *tls.Conn
	ready chan error
}

func newBlockingServer(config *tls.Config, out io.Writer) *blockingServer {
	s := &blockingServer{in: newMemoryPipe(), ready: make(chan error, 1)}
	s.conn = tls.Server(memoryConn{s.in, out}, config)
	go func() { s.ready <- s.conn.Handshake() }()
	return s
}

func (s *blockingServer) feed(p []byte) { _, _ = s.in.Write(p) }
func (s *blockingServer) end()          { s.in.end() }
func (s *blockingServer) wait()         { <-s.ready }
func (s *blockingServer) result() (plain []byte, err error) {
	return io.ReadAll(s.conn)
}

// piecewiseServer is the TLS of this package, which a transport gives pieces of random sizes, of most bytes at most.
type piecewiseServer struct {
	c    *connection
	most int
	rand *rand.Rand
}

func newPiecewiseServer(config *tls.Config, out io.Writer, most int, seed uint64) *piecewiseServer {
	side := &tlsSide{config: config}
	c := newSession("", side)
	c.transport = &fakeTransport{onSend: func(v *vector) (n int, err error) {
		for _, p := range v.Bufs[:v.N] {
			n += len(p)
			_, _ = out.Write(p)
		}
		return n, nil
	}}
	c.beginSession(side)
	c.window.limit.Store(0)
	_ = c.start(causePoller)
	c.use()
	return &piecewiseServer{c, most, rand.New(rand.NewPCG(seed, 1))}
}

func (s *piecewiseServer) feed(p []byte) {
	t := &s.c.self.(*TLSConnection).session
	for len(p) > 0 && t.begin(evRead) {
		n := 0
		if t.wants(false) {
			room := t.room(min(1+s.rand.IntN(s.most), len(p)))
			n = copy(room, p)
			t.put(n)
			t.fed(n, n == len(room), false, nil, nil)
		}
		t.end()
		p = p[n:]
		for n == 0 && t.interest()&evRead == 0 { // too much waits for the end of the handshake, or it has ended
			if t.inEnded.Load() || s.c.life.load().has(bitEnded) {
				return
			}
			time.Sleep(10 * time.Microsecond)
		}
	}
}

func (s *piecewiseServer) end() {
	t := &s.c.self.(*TLSConnection).session
	for told := false; !told && t.begin(evRead); {
		if told = t.wants(false); told {
			t.room(1)
			t.put(0)
			t.fed(0, false, true, io.EOF, nil)
		}
		told = told || t.inEnded.Load() || s.c.life.load().has(bitEnded)
		t.end()
		if !told { // the goroutine of the handshake opens what has waited for it
			time.Sleep(10 * time.Microsecond)
		}
	}
}

func (s *piecewiseServer) wait() {
	for s.c.unready() && s.c.life.load().errno() == 0 {
		time.Sleep(10 * time.Microsecond)
	}
}

func (s *piecewiseServer) result() (plain []byte, err error) {
	plain, err = io.ReadAll(s.c.self)
	_ = s.c.Close()
	return plain, err
}

// playScript does a handshake with a server, and then gives it what script says. It returns what the server has read,
// its error, and how many bytes it has sent since.
func playScript(t *testing.T, version uint16, script []byte, make func(*tls.Config, io.Writer) tlsServerUnderTest) (
	plain []byte, sent int, err error,
) {
	config := testTLSConfig().Clone()
	config.MinVersion, config.MaxVersion = version, version
	toClient := newMemoryPipe()
	server := make(config, toClient)
	client := &recordWriter{sink: server.feed}
	raw := memoryConn{toClient, writerFunc(func(p []byte) { client.sink(p) })}
	if version == tls.VersionTLS13 {
		client.records = testkit.NewRecordClient(t, raw, config)
		client.conn = client.records.Conn
	} else {
		client.conn = tls.Client(raw, config)
		require.NoError(t, client.conn.Handshake())
	}
	server.wait()
	before := toClient.written()
	var tape []byte
	client.sink = func(p []byte) { tape = append(tape, p...) }
	client.play(&tape, script)
	server.feed(tape)
	server.end()
	plain, err = server.result()
	return plain, toClient.written() - before, err
}

// recordWriter is the client of a script.
type recordWriter struct {
	sink    func(p []byte)
	conn    *tls.Conn
	records *testkit.RecordClient // of TLS 1.3
}

// play adds to tape what the steps of script, two bytes each, make.
func (w *recordWriter) play(tape *[]byte, script []byte) {
	content := testkit.Pattern(20_000)
	for len(script) >= 2 {
		step, arg := script[0], int(script[1])
		script = script[2:]
		size := arg * arg / 4 // up to 16,256
		switch {
		case step%16 == 8 && len(*tape) > 0: // a byte is changed
			(*tape)[arg*7%len(*tape)] ^= 1 << (arg % 8)
		case step%16 == 9: // the end is cut off
			*tape = (*tape)[:max(0, len(*tape)-arg)]
			return
		case step%16 == 10: // a header that is none
			*tape = append(*tape, step, 3, byte(arg), byte(arg), 7)
		case step%16 == 11:
			_ = w.conn.CloseWrite()
			if w.records != nil {
				w.sink(w.records.Seal(testkit.RecordAlert, []byte{1, 0}))
			}
		case w.records == nil:
			_, _ = w.conn.Write(content[:size])
		case step%16 == 1:
			w.sink(w.records.Seal(testkit.RecordHandshake, testkit.KeyUpdate(arg%2 == 0)))
		case step%16 == 2:
			w.sink(w.records.Seal(testkit.RecordApplication, nil))
		case step%16 == 3: // half of a handshake message, and perhaps the rest
			w.sink(w.records.Seal(testkit.RecordHandshake, []byte{24, 0, 0}))
			if arg%2 == 0 {
				w.sink(w.records.Seal(testkit.RecordHandshake, []byte{1, 0}))
			}
		case step%16 == 4:
			w.sink(w.records.Seal(byte(arg), content[:2]))
		default:
			w.sink(w.records.Seal(testkit.RecordApplication, content[:size]))
		}
	}
}

// requireSame plays script for both servers and compares the results.
func requireSame(t *testing.T, version uint16, script []byte, most int, seed uint64) {
	t.Helper()
	want, wantSent, wantErr := playScript(t, version, script, func(c *tls.Config, out io.Writer) tlsServerUnderTest {
		return newBlockingServer(c, out)
	})
	got, sent, err := playScript(t, version, script, func(c *tls.Config, out io.Writer) tlsServerUnderTest {
		return newPiecewiseServer(c, out, most, seed)
	})
	if !bytes.Equal(want, got) {
		t.Fatalf("%d bytes of plaintext, or others, instead of %d; script %x", len(got), len(want), script)
	}
	switch {
	case wantErr == nil:
		require.NoError(t, err, "script %x", script)
	case errors.Is(wantErr, io.ErrUnexpectedEOF):
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "script %x", script)
	default:
		require.Error(t, err, "script %x: crypto/tls: %v", script, wantErr)
		require.True(t, strings.Contains(err.Error(), wantErr.Error()), "script %x: %v, not %v", script, err, wantErr)
	}
	if wantErr != nil {
		require.Equal(t, wantSent, sent, "script %x: bytes sent", script)
	}
}

// bothWays runs f with memory that is lent to tls.Conn, and without.
func bothWays(t *testing.T, f func(t *testing.T)) {
	was := tlsrecord.Lends
	defer func() { tlsrecord.Lends = was }()
	for _, lends := range []bool{false, was} {
		name := map[bool]string{false: "copied", true: "lent"}[lends]
		tlsrecord.Lends = lends
		t.Run(name, f)
	}
}

// tlsScripts are scripts for TLS 1.3, of which TLS 1.2 takes what it can.
var tlsScripts = [][]byte{
	{},
	{0, 10, 0, 200, 0, 255, 0, 1, 11, 0},
	{0, 10, 1, 0, 0, 30, 1, 1, 0, 255, 11, 0},
	{0, 10, 3, 0, 0, 20, 2, 0, 0, 9, 9, 5},
	{0, 100, 3, 1, 0, 100},
	{0, 255, 0, 255, 8, 77, 0, 9},
	{0, 255, 0, 255, 9, 255},
	{0, 30, 10, 3, 0, 30},
	{0, 30, 10, 255},
	{0, 30, 26, 3, 9, 1},
	{0, 30, 11, 0, 0, 30},
	{2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 0},
	{4, 99, 0, 10},
	{4, 21, 0, 10},
	{0, 30, 8, 0},
	{0, 30, 8, 1, 0, 255},
}

// One byte at a time, the session has to stop at every position.
func TestTLSOpensAsCryptoTLSAtEveryByte(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, script := range tlsScripts {
				requireSame(t, version, script, 1, 0)
			}
		}
	})
}

func TestTLSOpensAsCryptoTLSInPieces(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		for seed, most := range []int{2, 7, 100, 600, 5000, 17_000, 40_000} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				for _, script := range tlsScripts {
					requireSame(t, version, script, most, uint64(seed))
				}
			}
		}
	})
}

func FuzzTLSOpensAsCryptoTLS(f *testing.F) {
	for i, script := range tlsScripts {
		f.Add(script, 1<<(i%16), uint64(i), i%2 == 0, i%3 == 0)
	}
	lends := tlsrecord.Lends
	f.Fuzz(func(t *testing.T, script []byte, most int, seed uint64, old, copied bool) {
		most = max(most, 1)
		script = script[:min(len(script), 60)]
		defer func() { tlsrecord.Lends = lends }()
		tlsrecord.Lends = lends && !copied
		version := uint16(tls.VersionTLS13)
		if old {
			version = tls.VersionTLS12
		}
		requireSame(t, version, script, most, seed)
	})
}
