package netpoll

// This file holds shared memory as its user sees it: the listener and the dialer. What carries the bytes is in
// transport_shm_linux.go, and how both sides agree on the memory is in transport_shm_setup_linux.go.

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// NewShmListener makes a listener for connections over shared memory, between processes of one machine. inner is where
// clients come to, and belongs to the listener from then on. Its connections are [Connection] and [net.Conn] like all
// others, with "shm" as the network of their addresses: deadlines, half-close, limits and errors are the same. An
// [EventLoop] serves them without a goroutine for each.
//
// A client and its server have a ring of memory for each direction, which only its sender can write to. A peer that is
// broken, or hostile, can end its connection, but neither crash this process nor make a connection wait that is not its
// own. It could change bytes while they are copied out of its ring, but never those that a Reader shows.
//
// A client that says nothing, or the wrong thing, is closed when SetupTimeout is over. Up to 256 clients agree on memory at
// a time, those included that have agreed and wait for Accept. If one more comes the oldest that has not agreed is closed;
// if all have, it waits. SetDeadline, File
// and SyscallConn of the listener are not supported. After an error inner still belongs to the caller. There is shared
// memory on Linux; elsewhere the error Is [ErrUnsupported], unless Fallback allows the plain socket.
func NewShmListener(inner *net.UnixListener, config ShmConfig) (Listener, error) {
	if inner == nil {
		return nil, errors.New("netpoll: shared memory: the listener is nil")
	}
	if err := errors.Join(config.check(), shmSupported(&config)); err != nil {
		return nil, err
	}
	ln := &shmListener{inner: inner, config: config, ready: make(chan net.Conn), failed: make(chan error)}
	ln.open, ln.close = context.WithCancel(context.Background())
	go ln.accept() // a client waits for the answer to its greeting, whether Accept has been called or not
	return newNetListener(ln), nil
}

// listenShm is Listen for shared memory.
func (lc *ListenConfig) listenShm(ctx context.Context, address string) (Listener, error) {
	inner, err := lc.ListenConfig.Listen(ctx, "unix", address)
	if err != nil {
		return nil, asShmError(err)
	}
	ln, err := NewShmListener(inner.(*net.UnixListener), ShmConfig{})
	if err != nil {
		_ = inner.Close()
		return nil, &net.OpError{Op: "listen", Net: networkShm, Addr: shmAddr(inner.Addr()), Err: err}
	}
	return ln, nil
}

// maxShmSetups is how many clients agree on memory at a time.
const maxShmSetups = 256

// shmListener is a net.Listener whose connections have agreed on memory. A goroutine accepts, and each client has
// one until it has agreed, and Accept has taken it.
type shmListener struct {
	inner  *net.UnixListener
	config ShmConfig
	used   atomic.Int64 // bytes of the rings of all connections

	mu      sync.Mutex
	setting []*net.UnixConn // guarded by mu: the clients that have not agreed yet, the oldest first

	ready  chan net.Conn
	failed chan error      // of the accepting
	open   context.Context // ends with Close
	close  context.CancelFunc
}

// Accept implements [net.Listener].
func (ln *shmListener) Accept() (net.Conn, error) {
	select {
	case conn := <-ln.ready:
		return conn, nil
	case err := <-ln.failed:
		return nil, err
	case <-ln.open.Done():
		return nil, opError("accept", ln.Addr(), net.ErrClosed)
	}
}

// accept accepts until the listener is closed.
func (ln *shmListener) accept() {
	room := make(chan struct{}, maxShmSetups)
	for {
		conn, err := ln.inner.AcceptUnix()
		if err == nil {
			if !ln.makeRoom(room) {
				_ = conn.Close()
				return
			}
			ln.begin(conn)
			go func() {
				defer func() { <-room }()
				ln.setUp(conn)
			}()
			continue
		}
		select {
		case ln.failed <- err:
		case <-ln.open.Done():
			return
		}
	}
}

// makeRoom takes a place for one more client: that of the oldest one that has not agreed yet, if there is no other. It
// returns false if the listener is closed.
func (ln *shmListener) makeRoom(room chan<- struct{}) bool {
	select {
	case room <- struct{}{}:
		return true
	default:
	}
	ln.mu.Lock()
	if len(ln.setting) > 0 {
		_ = ln.setting[0].SetDeadline(longAgo)
		ln.setting = slices.Delete(ln.setting, 0, 1)
	}
	ln.mu.Unlock()
	select {
	case room <- struct{}{}:
		return true
	case <-ln.open.Done():
		return false
	}
}

// begin and end note that a client has not agreed yet.
func (ln *shmListener) begin(conn *net.UnixConn) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	_ = conn.SetDeadline(time.Now().Add(ln.config.setupTimeout()))
	ln.setting = append(ln.setting, conn)
}

func (ln *shmListener) end(conn *net.UnixConn) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if i := slices.Index(ln.setting, conn); i >= 0 {
		ln.setting = slices.Delete(ln.setting, i, i+1)
	}
}

// setUp agrees with a client, and gives the connection to Accept.
func (ln *shmListener) setUp(conn *net.UnixConn) {
	stop := context.AfterFunc(ln.open, func() { _ = conn.SetDeadline(longAgo) })
	agreed, err := shmAccept(conn, &ln.config, &ln.used)
	ln.end(conn)
	if err != nil {
		ln.config.Statistics.refusedFor(err)
	}
	if open := stop(); err != nil || !open {
		if err == nil {
			_ = agreed.Close()
		}
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	select {
	case ln.ready <- agreed:
	case <-ln.open.Done():
		_ = agreed.Close()
	}
}

// Close implements [net.Listener].
func (ln *shmListener) Close() error {
	ln.close()
	return ln.inner.Close()
}

// Addr implements [net.Listener].
func (ln *shmListener) Addr() net.Addr { return shmAddr(ln.inner.Addr()) }

// ShmDialer dials connections over shared memory. Several goroutines may dial at once. Its networks are "shm", and all those
// of [NetDialer], which it dials as that does. Errors are those of NetDialer, too. A server that has no shared memory, or
// refuses it, gives an error, unless both sides allow the plain socket: see [ShmConfig].
type ShmDialer struct {
	NetDialer

	// Config has the settings of shared memory. AllowUser, MaxMemory and SetupTimeout are not used.
	Config ShmConfig
}

var _ Dialer = (*ShmDialer)(nil)

// DialConnection implements Dialer. The address for "shm" is that of the Unix socket of the listener.
func (d *ShmDialer) DialConnection(network, address string, timeout time.Duration) (Connection, error) {
	ctx, cancel := contextFor(timeout)
	defer cancel()
	return d.dial(ctx, network, address)
}

// DialTimeout implements Dialer.
func (d *ShmDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	return d.DialConnection(network, address, timeout)
}

// DialContext has the signature that an http.Transport asks for. It returns a [Connection].
func (d *ShmDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.dial(ctx, network, address)
}

// Dial is DialContext without a context.
func (d *ShmDialer) Dial(network, address string) (net.Conn, error) {
	return d.dial(context.Background(), network, address)
}

func (d *ShmDialer) dial(ctx context.Context, network, address string) (Connection, error) {
	if network != networkShm {
		return d.NetDialer.dial(ctx, network, address)
	}
	if err := errors.Join(d.Config.check(), shmSupported(&d.Config)); err != nil {
		return nil, dialError(network, nil, nil, err)
	}
	ctx, cancel := limited(ctx, &d.Dialer)
	defer cancel()
	conn, err := connect(ctx, &d.Dialer, "unix", address)
	if err != nil {
		return nil, asShmError(err)
	}
	agreed, err := shmAgree(ctx, conn.(*net.UnixConn), &d.Config)
	if err != nil {
		d.Config.Statistics.refusedFor(err)
	} else {
		var c *connection
		if c, err = startSession(agreed, nil); err == nil {
			return c.self, nil
		}
	}
	_ = conn.Close()
	return nil, nameTimeout(dialError(network, shmAddr(conn.LocalAddr()), shmAddr(conn.RemoteAddr()), err))
}

// asShmError puts the name of the network into an error of the dialing of its socket.
func asShmError(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	named := *op
	named.Net = networkShm
	return &named
}

// shmAgree is shmConnect that ends with ctx.
func shmAgree(ctx context.Context, conn *net.UnixConn, config *ShmConfig) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	agreed, err := shmConnect(conn, config)
	if !stop() { // ctx has ended
		if err == nil {
			_ = agreed.Close()
		}
		return nil, contextError(ctx)
	}
	return agreed, err
}

// contextError returns why ctx has ended, as package net names it.
func contextError(ctx context.Context) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &dialTimeout{context.DeadlineExceeded}
}
