package main

// This file holds the attacks on a server with TLS.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/reliability/internal/peer"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

// tlsConfig is that of the attackers.
var tlsConfig = &tls.Config{InsecureSkipVerify: true}

// hello is the record with which a client begins.
var hello = sync.OnceValue(func() []byte {
	here, there := net.Pipe()
	defer here.Close()
	go func() { _ = tls.Client(there, tlsConfig).Handshake() }()
	record := make([]byte, 5, 4<<10)
	_, err := io.ReadFull(here, record)
	if err == nil {
		record = record[:5+int(record[3])<<8+int(record[4])]
		_, err = io.ReadFull(here, record[5:])
	}
	if err != nil {
		panic(err)
	}
	return record
})

func slowHello(a *attacker) { a.crowd(peer.Options{}, slowRound, stream(hello(), 1)) }

// garbage sends something that is no record, or a record that is no ClientHello, and comes back.
func garbage(a *attacker) {
	record := append([]byte{22, 3, 1, 0, 64}, make([]byte, 64)...)
	a.crowd(peer.Options{}, 10*time.Millisecond, once(record))
}

// session is a client of TLS that makes its records itself.
type session struct {
	*testkit.RecordClient
	rest []byte // ciphertext that the socket has not taken
}

// push sends ciphertext, for a moment at most.
func (s *session) push(p []byte) error {
	s.rest = append(s.rest, p...)
	_ = s.Raw.SetWriteDeadline(time.Now().Add(slowRound))
	n, err := s.Raw.Write(s.rest)
	s.rest = s.rest[n:]
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// failing is a testing.TB for a handshake outside of a test.
type failing struct{ testing.TB }

func (failing) Helper() {}

func (failing) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }

// begin dials for a session. Its socket takes little that it does not read.
func (a *attacker) begin() (s *session, err error) {
	dialer := net.Dialer{Timeout: arrivalTime, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	raw, err := dialer.DialContext(context.Background(), "tcp", a.addr.String())
	if err != nil {
		return nil, err
	}
	_ = raw.(*net.TCPConn).SetLinger(0)
	defer func() {
		if failed := recover(); failed != nil {
			_ = raw.Close()
			err = failed.(error)
		}
	}()
	_ = raw.SetDeadline(time.Now().Add(arrivalTime))
	return &session{RecordClient: testkit.NewRecordClient(failing{}, raw, tlsConfig)}, nil
}

// sessions keeps all peers in sessions. It calls act for each, again and again, until act returns an error; then the
// peer comes back.
func (a *attacker) sessions(act func(s *session, round int) error) {
	var all sync.WaitGroup
	var begun atomic.Int64
	for range a.peers {
		all.Go(func() {
			for first := true; !a.ended(); {
				s, err := a.begin()
				if err != nil {
					a.count("no handshake", 1)
					continue
				}
				a.count("handshakes", 1)
				if first && begun.Add(1) == int64(a.peers) {
					a.ready()
				}
				first = false
				for round := 0; err == nil && !a.ended(); round++ {
					err = act(s, round)
				}
				_ = s.Raw.Close()
			}
		})
	}
	all.Wait()
}

// slowRecord sends a record of 16 KiB, a byte at a time.
func slowRecord(a *attacker) {
	a.sessions(func(s *session, round int) error {
		if round == 0 {
			s.rest = s.Seal(testkit.RecordApplication, make([]byte, 16<<10))
		}
		p := s.rest[:1]
		s.rest = s.rest[1:]
		_, err := s.Raw.Write(p)
		a.pause(slowRound)
		return err
	})
}

// errBack makes a peer come back.
var errBack = errors.New("comes back")

func handshakes(a *attacker) { a.sessions(func(*session, int) error { return errBack }) }

// keyUpdates asks for new keys without end, and reads none of the answers.
func keyUpdates(a *attacker) {
	a.sessions(func(s *session, _ int) error {
		var records []byte
		for len(s.rest) == 0 && len(records) < 1<<10 {
			records = append(records, s.Seal(testkit.RecordHandshake, testkit.KeyUpdate(true))...)
		}
		return s.push(records)
	})
}

// tinyRecords sends requests in records of one byte.
func tinyRecords(a *attacker) {
	body := make([]byte, 60)
	body[0] = 'e'
	frame := victim.Frame(body)
	a.sessions(func(s *session, round int) error {
		if round == 0 {
			_ = s.Raw.SetReadDeadline(time.Time{})
			go func() { _, _ = io.Copy(io.Discard, s.Conn) }()
		}
		var records []byte
		for i := 0; len(s.rest) == 0 && i < len(frame); i++ {
			records = append(records, s.Seal(testkit.RecordApplication, frame[i:i+1])...)
		}
		return s.push(records)
	})
}

// helloAgain begins a handshake in a session, which TLS 1.3 does not allow.
func helloAgain(a *attacker) {
	a.sessions(func(s *session, _ int) error {
		if err := s.push(s.Seal(testkit.RecordHandshake, hello()[5:])); err != nil {
			return err
		}
		_, err := s.Conn.Read(make([]byte, 1)) // an alert
		return err
	})
}
