// Package victim is the server that the programs of this module attack and overload. Its protocol: a frame is 4 bytes
// for the length of the body, big-endian, and the body. The first byte of the body says what the peer asks for:
//
//	'e'  echo: the answer is the body
//	'b'  bytes: the next 4 bytes say how many
//	'w'  work: the next 4 bytes say how many rounds of hashing; the answer is the body
//	's'  silence: no answer
//	'p'  a panic
package victim

// This file holds the server, and the questions of the process that has started it. The handlers are in handler.go.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/gauge"
)

// RoleName is the name of Role.
const RoleName = "server"

// Config has the settings of the server. Zero values are the library's defaults.
type Config struct {
	Waiting      bool          // the handler waits for the rest of a frame; otherwise it returns until the frame is complete
	MaxFrame     int           // longer frames end the connection; 0: 1 MiB
	MaxConns     int           // by the library's option WithMaxConnections
	TurnAway     int           // by OnPrepare, which closes connections above that number
	ReadLimit    int           // 0: the default
	IdleLimit    time.Duration // 0: none
	ReadTimeout  time.Duration // the same
	WriteTimeout time.Duration // the same
	Backlog      int           // 0: the system's default
	Descriptors  int           // the limit; 0: the system's
	Plain        bool          // over package net, for comparison
	TLS          bool          // on a second listener
	Shm          bool          // on a third

	HandshakeTimeout time.Duration // 0: the default
	Leak             string        // what it leaks: "heap", "descriptors", "goroutines", or nothing
}

// Question is a question to the server.
type Question struct {
	Collect  bool          // collect garbage before the reading
	Shutdown time.Duration // if not 0, call Shutdown with this timeout
}

// Answer is the server's answer.
type Answer struct {
	Addr         string // of the listener
	TLSAddr      string // of the one with TLS
	ShmAddr      string // of the one with shared memory
	Inside       gauge.Inside
	Connections  int64  // open now
	Most         int64  // the maximum so far
	Accepted     int64  // so far
	Requests     int64  // answered so far
	Shutdown     string // what Shutdown returned; empty for nil
	Busy         []int  // for each connection that was busy when Shutdown returned: unread bytes
	ShutdownTook time.Duration
	Served       bool // Serve has returned nil
}

// server is one running victim. Callbacks write the counters; the goroutine that answers questions reads them.
type server struct {
	config Config
	loop   netpoll.EventLoop
	source *gauge.Source
	addr   string
	tls    string // the address of the listener with TLS
	shm    string // and of that with shared memory
	served chan error

	connections, most, accepted, requests atomic.Int64
	leaked                                leaks
}

// Role is the role of the server's process. It receives a Config, and then Questions.
func Role(link *child.Link) error {
	var config Config
	if err := link.Receive(&config); err != nil {
		return err
	}
	s, err := start(config)
	if err != nil {
		return err
	}
	if err := link.Send(s.answer(false)); err != nil {
		return err
	}
	for {
		var q Question
		if err := link.Receive(&q); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		a := s.answer(q.Collect)
		if q.Shutdown != 0 {
			s.shutDown(q.Shutdown, &a)
		}
		if err := link.Send(a); err != nil {
			return err
		}
	}
}

func start(config Config) (*server, error) {
	if config.MaxFrame == 0 {
		config.MaxFrame = 1 << 20
	}
	s := &server{config: config, source: gauge.NewSource(), served: make(chan error, 1)}
	ln, err := listen(config)
	if err != nil {
		return nil, err
	}
	s.addr = ln.Addr().String()
	list := []net.Listener{ln}
	if config.TLS {
		ln, err := listenTLS(config)
		if err != nil {
			return nil, err
		}
		s.tls = ln.Addr().String()
		list = append(list, ln)
	}
	if config.Shm {
		ln, err := listenShm()
		if err != nil {
			return nil, err
		}
		s.shm = ln.Addr().String()
		list = append(list, ln)
	}
	if n := uint64(config.Descriptors); n != 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return nil, fmt.Errorf("limit of descriptors: %w", err)
		}
	}
	if config.Plain {
		s.serveAll(s.servePlain, list)
		return s, nil
	}
	s.loop, err = netpoll.NewEventLoop(s.onRequest, s.options()...)
	if err != nil {
		return nil, err
	}
	s.serveAll(s.loop.Serve, list)
	return s, nil
}

func listen(config Config) (net.Listener, error) {
	if config.Plain {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	netpoll.Initialize() // before anything is measured, so that its memory is not counted as growth
	return (&netpoll.ListenConfig{Backlog: config.Backlog}).Listen(context.Background(), "tcp", "127.0.0.1:0")
}

func (s *server) options() []netpoll.Option {
	options := []netpoll.Option{
		netpoll.WithOnPrepare(s.onPrepare),
		netpoll.WithReadTimeout(s.config.ReadTimeout),
		netpoll.WithWriteTimeout(s.config.WriteTimeout),
		netpoll.WithIdleLimit(s.config.IdleLimit),
		netpoll.WithMaxConnections(s.config.MaxConns),
		netpoll.WithTLSHandshakeTimeout(s.config.HandshakeTimeout),
		netpoll.WithOnTLSHandshakeError(func(net.Conn, error) {}), // there are many
	}
	if s.config.ReadLimit != 0 {
		options = append(options, netpoll.WithReadLimit(s.config.ReadLimit))
	}
	return options
}

// count counts a new connection, and returns how many there are now.
func (s *server) count() (now int64) {
	s.accepted.Add(1)
	now = s.connections.Add(1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); {
		most = s.most.Load()
	}
	return now
}

// onPrepare counts the connection, and closes it if there are too many.
func (s *server) onPrepare(conn netpoll.Connection) context.Context {
	now := s.count()
	_ = conn.AddCloseCallback(func(netpoll.Connection) error {
		s.connections.Add(-1)
		return nil
	})
	if s.config.TurnAway > 0 && now > int64(s.config.TurnAway) {
		_ = conn.Close()
	}
	return context.Background()
}

func (s *server) answer(collect bool) Answer {
	a := Answer{Addr: s.addr, TLSAddr: s.tls, ShmAddr: s.shm, Connections: s.connections.Load(), Most: s.most.Load(), Accepted: s.accepted.Load(),
		Requests: s.requests.Load()}
	if collect {
		a.Inside = s.source.Collect()
	} else {
		a.Inside = s.source.Read()
	}
	return a
}

// shutDown calls Shutdown and waits for the end of Serve.
func (s *server) shutDown(within time.Duration, a *Answer) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	began := time.Now()
	err := s.loop.Shutdown(ctx)
	a.ShutdownTook = time.Since(began)
	if err != nil {
		a.Shutdown = err.Error()
	}
	var busy *netpoll.ShutdownError
	if errors.As(err, &busy) {
		for _, conn := range busy.Busy {
			a.Busy = append(a.Busy, conn.Reader().Len())
			_ = conn.Close()
		}
	}
	a.Served = <-s.served == nil
}
