package main

// This file holds the server of the example. It echoes, and dropAll closes all its connections, as a restart or an idle
// timeout does.

import (
	"context"
	"sync"

	"github.com/cloudwego/netpoll"
)

type server struct {
	loop netpoll.EventLoop

	mu    sync.Mutex // guards conns
	conns map[netpoll.Connection]struct{}
}

func newServer() (s *server, err error) {
	s = &server{conns: make(map[netpoll.Connection]struct{})}
	s.loop, err = netpoll.NewEventLoop(echo, netpoll.WithOnConnect(s.onConnect))
	return s, err
}

// onConnect keeps the connection in conns until it is closed.
func (s *server) onConnect(ctx context.Context, conn netpoll.Connection) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn] = struct{}{}
	conn.AddCloseCallback(s.onClose) // the error is always nil
	return ctx
}

func (s *server) onClose(conn netpoll.Connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	return nil
}

func (s *server) dropAll() {
	s.mu.Lock()
	conns := make([]netpoll.Connection, 0, len(s.conns))
	for conn := range s.conns {
		conns = append(conns, conn)
	}
	s.mu.Unlock() // Close calls onClose
	for _, conn := range conns {
		conn.Close()
	}
}

func echo(_ context.Context, conn netpoll.Connection) error {
	reader, writer := conn.Reader(), conn.Writer()
	defer reader.Release()
	input, err := reader.Next(reader.Len())
	if err != nil {
		return err
	}
	if _, err := writer.WriteBinary(input); err != nil {
		return err
	}
	return writer.Flush()
}
