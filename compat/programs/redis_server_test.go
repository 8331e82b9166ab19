package programs

// A small Redis server on an EventLoop: enough for the tests of the client. Each connection has a lock for writing,
// because the handler of a publisher writes to the connections of the subscribers.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// redisServer is a running server.
type redisServer struct {
	addr     string
	layer    layer // of all connections
	loop     netpoll.EventLoop
	served   chan error    // delivers the result of Serve
	accepted atomic.Int32  // connections so far
	waiting  chan struct{} // gets a value for each command that blocks
	release  chan struct{} // the test closes it when HOLD may answer
	gone     chan struct{} // gets a value for each connection whose client has closed
	stop     func() error

	mu          sync.Mutex // guards the fields below
	values      map[string][]byte
	lists       map[string][][]byte
	pushed      chan struct{} // closed, and replaced, when a list grows
	sessions    map[*session]bool
	subscribers map[string]map[*session]bool
}

// session is the server's state of a connection.
type session struct {
	*redisServer
	conn netpoll.Connection
	left context.Context // cancelled when the client has closed
	mu   sync.Mutex      // held while writing to conn

	queued [][][]byte // commands since MULTI; nil outside a transaction
}

type sessionKey struct{}

// startRedis serves on a free loopback port until the test ends.
func startRedis(t *testing.T, l layer) *redisServer {
	t.Helper()
	return startRedisOn(t, l, "127.0.0.1:0")
}

// startRedisOn is startRedis on an address that the caller chooses.
func startRedisOn(t *testing.T, l layer, address string) *redisServer {
	t.Helper()
	s := &redisServer{
		layer: l, served: make(chan error, 1), waiting: make(chan struct{}, 64), release: make(chan struct{}),
		gone:   make(chan struct{}, 1024),
		values: make(map[string][]byte), lists: make(map[string][][]byte), pushed: make(chan struct{}),
		sessions: make(map[*session]bool), subscribers: make(map[string]map[*session]bool),
	}
	ln, err := netpoll.CreateListener("tcp", address)
	require.NoError(t, err)
	s.addr = ln.Addr().String()
	opts := []netpoll.Option{netpoll.WithOnConnect(s.onConnect), netpoll.WithOnDisconnect(s.onDisconnect)}
	if l != nil {
		opts = append(opts, l.option())
	}
	s.loop, err = netpoll.NewEventLoop(s.onRequest, opts...)
	require.NoError(t, err)
	go func() { s.served <- s.loop.Serve(ln) }()
	s.stop = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return errors.Join(s.loop.Shutdown(ctx), <-s.served)
	})
	t.Cleanup(func() { require.NoError(t, s.stop()) })
	return s
}

func (s *redisServer) onConnect(ctx context.Context, conn netpoll.Connection) context.Context {
	left, leave := context.WithCancel(ctx)
	c := &session{redisServer: s, conn: conn, left: left}
	s.accepted.Add(1)
	s.mu.Lock()
	s.sessions[c] = true
	s.mu.Unlock()
	_ = conn.AddCloseCallback(func(netpoll.Connection) error {
		leave()
		s.forget(c)
		return nil
	})
	return context.WithValue(context.WithValue(ctx, sessionKey{}, c), leaveKey{}, leave)
}

type leaveKey struct{}

func (s *redisServer) onDisconnect(ctx context.Context, _ netpoll.Connection) {
	ctx.Value(leaveKey{}).(context.CancelFunc)()
	s.gone <- struct{}{}
}

func (s *redisServer) forget(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	for _, list := range s.subscribers {
		delete(list, c)
	}
}

// kill closes all connections.
func (s *redisServer) kill() {
	s.mu.Lock()
	sessions := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, c := range sessions {
		_ = c.conn.Close()
	}
}

// onRequest reads the commands that have arrived and sends all answers at once.
func (s *redisServer) onRequest(ctx context.Context, conn netpoll.Connection) error {
	c := ctx.Value(sessionKey{}).(*session)
	var out bytes.Buffer
	for r := conn.Reader(); r.Len() > 0; {
		command, err := readCommand(r)
		if err != nil {
			return conn.Close()
		}
		c.answer(&out, command)
		if err := r.Release(); err != nil {
			return err
		}
	}
	return c.write(out.Bytes())
}

// readCommand reads an array of strings. The strings are copies.
func readCommand(r netpoll.Reader) (command [][]byte, err error) {
	n, err := readLength(r, '*')
	for range n {
		var size int
		if size, err = readLength(r, '$'); err != nil {
			break
		}
		var p []byte
		if p, err = r.ReadBinary(size); err != nil {
			break
		}
		if err = r.Skip(2); err != nil {
			break
		}
		command = append(command, p)
	}
	return command, err
}

func readLength(r netpoll.Reader, kind byte) (int, error) {
	line, err := r.Until('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("%q for a %c", line, kind)
	}
	return strconv.Atoi(string(line[1 : len(line)-2]))
}

func (c *session) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.conn.Writer()
	if _, err := w.WriteBinary(bytes.Clone(p)); err != nil {
		return err
	}
	return w.Flush()
}

// answer executes a command, or queues it within a transaction.
func (c *session) answer(out *bytes.Buffer, command [][]byte) {
	name := strings.ToUpper(string(command[0]))
	switch {
	case name == "MULTI":
		c.queued = [][][]byte{}
		fmt.Fprint(out, "+OK\r\n")
	case name == "EXEC":
		queued := c.queued
		c.queued = nil
		fmt.Fprintf(out, "*%d\r\n", len(queued))
		for _, command := range queued {
			c.do(out, strings.ToUpper(string(command[0])), command[1:])
		}
	case c.queued != nil:
		c.queued = append(c.queued, command)
		fmt.Fprint(out, "+QUEUED\r\n")
	default:
		c.do(out, name, command[1:])
	}
}

func (c *session) do(out *bytes.Buffer, name string, args [][]byte) {
	switch name {
	case "PING":
		fmt.Fprint(out, "+PONG\r\n")
	case "SET":
		c.set(string(args[0]), args[1])
		fmt.Fprint(out, "+OK\r\n")
	case "GET":
		bulk(out, c.get(string(args[0])))
	case "INCR":
		fmt.Fprintf(out, ":%d\r\n", c.incr(string(args[0])))
	case "RPUSH":
		fmt.Fprintf(out, ":%d\r\n", c.push(string(args[0]), args[1:]))
	case "BLPOP":
		c.flush(out)
		c.pop(out, args)
	case "SUBSCRIBE":
		for i, channel := range args {
			c.subscribe(string(channel))
			fmt.Fprintf(out, "*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:%d\r\n", len(channel), channel, i+1)
		}
	case "PUBLISH":
		fmt.Fprintf(out, ":%d\r\n", c.publish(string(args[0]), args[1]))
	case "HOLD":
		c.flush(out)
		c.waiting <- struct{}{}
		select {
		case <-c.release:
		case <-c.left.Done():
		}
		fmt.Fprint(out, "+HELD\r\n")
	case "BOOM":
		panic("boom")
	default: // also HELLO and CLIENT, which the client can do without
		fmt.Fprintf(out, "-ERR unknown command '%s'\r\n", name)
	}
}

// flush sends the answers so far before a command that may block.
func (c *session) flush(out *bytes.Buffer) {
	_ = c.write(out.Bytes()) // if it fails the connection has ended, and the command will find that
	out.Reset()
}

func bulk(out *bytes.Buffer, p []byte) {
	if p == nil {
		fmt.Fprint(out, "$-1\r\n")
		return
	}
	fmt.Fprintf(out, "$%d\r\n%s\r\n", len(p), p)
}

func (s *redisServer) set(key string, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = append([]byte{}, p...) // not nil, though it may be empty
}

func (s *redisServer) get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key]
}

func (s *redisServer) incr(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, _ := strconv.Atoi(string(s.values[key])) // a missing value counts as 0
	s.values[key] = []byte(strconv.Itoa(n + 1))
	return n + 1
}

func (s *redisServer) push(key string, p [][]byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists[key] = append(s.lists[key], p...)
	close(s.pushed)
	s.pushed = make(chan struct{})
	return len(s.lists[key])
}

// pop waits for an element of a list. The last argument is the timeout in seconds; 0 means none.
func (c *session) pop(out *bytes.Buffer, args [][]byte) {
	key := string(args[0])
	var late <-chan time.Time
	if d, _ := strconv.ParseFloat(string(args[len(args)-1]), 64); d > 0 {
		late = time.After(time.Duration(d * float64(time.Second)))
	}
	for told := false; ; {
		p, more := c.take(key)
		if p != nil {
			fmt.Fprintf(out, "*2\r\n$%d\r\n%s\r\n", len(key), key)
			bulk(out, p)
			return
		}
		if !told {
			told = true
			c.waiting <- struct{}{}
		}
		select {
		case <-more:
			continue
		case <-late:
		case <-c.left.Done():
		}
		fmt.Fprint(out, "*-1\r\n")
		return
	}
}

// take returns the first element, or nil and a channel that is closed when a list grows.
func (s *redisServer) take(key string) ([]byte, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.lists[key]
	if len(list) == 0 {
		return nil, s.pushed
	}
	s.lists[key] = list[1:]
	return list[0], nil
}

func (c *session) subscribe(channel string) {
	s := c.redisServer
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscribers[channel] == nil {
		s.subscribers[channel] = make(map[*session]bool)
	}
	s.subscribers[channel][c] = true
}

func (s *redisServer) publish(channel string, p []byte) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out bytes.Buffer
	fmt.Fprintf(&out, "*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n", len(channel), channel)
	bulk(&out, p)
	for c := range s.subscribers[channel] {
		if c.write(out.Bytes()) == nil {
			n++
		}
	}
	return n
}

// dialed dials for a client. It counts, and keeps the last connection.
type dialed struct {
	layer layer // of its connections
	count atomic.Int32
	last  atomic.Value // the net.Conn of the last dial
}

func (d *dialed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := sides{client: true, layer: d.layer}.dial(ctx, network, address)
	if err == nil {
		d.count.Add(1)
		d.last.Store(conn)
	}
	return conn, err
}
