// Package netpoll is a network library on readiness events: connections that wait cost no goroutine, and their input
// and output are buffers that a program works in without copying.
//
// # Model
//
// A few pollers, goroutines of the package, ask the system which sockets have something to do. They receive into the
// input buffer of the connection. Then they wake the goroutine that waits in a method of [Reader] or in Read or, if
// there is none, run the connection's handler: on the spot as long as handlers are quick, else in a pool of goroutines.
// The handler, or anybody else, reads from the input buffer, writes into the output buffer, and calls Flush, which
// sends. Where the system has io_uring, the receives and the sends of many connections are one system call.
//
// A server is an [EventLoop] with callbacks: [OnPrepare], [OnConnect], [OnRequest], [OnDisconnect] and, for each
// connection, any number of [CloseCallback] functions. A client dials with [DialConnection] or [DialContext] and either
// reads and writes as with package net or sets a handler by SetOnRequest. Every [Connection] is a full [net.Conn], and
// every [Listener] of this package a full [net.Listener].
//
// # Memory
//
//   - What Next, Peek and Until of a [Reader] show belongs to the package. It stays as it is until Release, or until the
//     second Slice or Read after it.
//   - ReadString, ReadBinary and Read copy; the copies are the caller's.
//   - What Malloc of a [Writer] returns is filled by the caller until Flush; nothing is sent before Flush or Write.
//   - WriteBinary and WriteString copy up to [BinaryInplaceThreshold] bytes. Longer ones, and all of WriteDirect, are
//     only pointed to: they must not be changed until Flush has returned nil.
//   - The Reader that Slice returns is released by itself, also by another goroutine while the connection reads on.
//   - Append takes all blocks of a [LinkBuffer] over and leaves it empty.
//
// Input that is not read is bounded, to 1 MiB by default: see [WithReadLimit].
//
// # Concurrency
//
// One goroutine at a time may use the Reader of a connection and one the Writer. They may be two, Read and Write may be
// called by many, and all other methods by anybody at any time, Close above all. A second goroutine that breaks the
// rule gets [ErrConcurrentAccess]; nothing else happens. The handler of a connection never runs twice at the same time.
//
// # Errors
//
// Errors are matched by [errors.Is]. Beside the codes of this package they answer to the names of the standard library:
//
//	the peer ended the stream        ErrEOF, ErrConnClosed; from Read and ReadByte of a net.Conn: io.EOF itself
//	the peer reset the connection    syscall.ECONNRESET, ErrConnClosed
//	closed on this side              ErrConnClosed, net.ErrClosed, and why, if it was not the program:
//	                                 ErrIdleLimit, ErrShutdown, ErrPanic, ErrPollerFailed
//	read timeout or deadline         ErrReadTimeout, os.ErrDeadlineExceeded
//	write timeout or deadline        ErrWriteTimeout, os.ErrDeadlineExceeded
//	dial timeout                     ErrDialTimeout, os.ErrDeadlineExceeded, in a *net.OpError
//	dial refused                     syscall.ECONNREFUSED, in a *net.OpError
//	unknown network                  net.UnknownNetworkError
//	network without streams          ErrUnsupported, net.UnknownNetworkError, in a *net.OpError
//	second goroutine on one side     ErrConcurrentAccess
//	a bare LinkBuffer has too few    ErrNotEnoughData
//	arguments contradict what        ErrBufferMisuse
//	  was written
//	RawConn.Read beside input that   ErrBufferedInput
//	  is buffered
//	not available here               ErrUnsupported, errors.ErrUnsupported
//	listener closed                  net.ErrClosed
//	Shutdown gave up waiting         *ShutdownError, which wraps the error of its context
//
// The timeouts implement [net.Error] with Timeout() == true.
//
// # Map
//
//	eventloop.go, options.go         the server as its user sees it: callbacks, options
//	server.go, acceptor.go, connlimit.go
//	                                 the server behind it
//	listener.go, listener*.go, dialer.go, fd*.go
//	                                 where connections come from
//	dialer.go, network.go           addresses, networks
//	config.go, features.go           settings of the process; what of the system is in use
//	errors.go                        all errors
//	connection.go, _stream.go        what a connection is, its addresses and settings; its face as a net.Conn
//	connection_state.go              its life: one word, and who may change it
//	connection_read.go, _write.go    its two directions
//	connection_pending.go, _batch.go    output left to the poller, input received with that of others
//	connection_callbacks.go          who calls the user's functions, when
//	connection_close.go              its end, and half-close
//	connection_tcp.go                options of sockets, as package net has them
//	connection_copy*.go, connection_sendfile_linux.go
//	                                 ReadFrom and WriteTo: sendfile, splice
//	connection_descriptor.go, _idle.go, _context.go
//	                                 the descriptor lent to functions of the user, idle limit, context
//	connection_quiet.go              a look past the buffer: is the socket silent?
//	connection_unix.go, control_*.go messages with descriptors, over Unix sockets
//	newconn_poller.go             how it is made of a socket
//	transport.go, transport_*.go     what carries the bytes of a connection
//	transport_netconn*.go, newconn.go
//	                                 connections over any net.Conn
//	listener_netconn.go, acceptor_netconn.go
//	                                 listeners of any kind
//	*_other.go, *_windows.go         systems without a poller here
//	poll.go, poll_event.go, poll_set.go
//	                                 a poller, and the set of them
//	poll_leader.go, _watchdog.go     handlers on the poll goroutine, and who polls meanwhile
//	poll_batch.go, poll_batch.go      one system call for a batch of receives and sends
//	poll_slot.go                     how an event finds what it is for
//	poll_linux.go, poll_bsd.go       epoll, kqueue
//	linkbuffer*.go, block.go         the buffers and their memory
//	readwriter.go                    Reader and Writer, and adapters from and to package io
//	memdebug.go                      finding uses of memory after its Release
//	export_faults.go                 what tests of failing system calls need
//	internal/alarm                   the alarm of a poll loop
//	internal/fault                   where tests make system calls fail
//	internal/interleave              atomics, locks and the clock, which the tests of schedules replace
//	internal/kqueue                  kqueue, and a model of it for tests on Linux
//	internal/runner                  where callbacks run
//	internal/sock                    system calls on sockets, on every system
//	internal/testkit                 what tests of all packages share
//	internal/testnet                 servers and connected pairs for tests from outside
//	internal/uring                   a ring for batches of system calls
//	internal/wait                    how a goroutine waits, timeouts and deadlines
//	mux                              one connection for many writers
//
// docs/guide.md tells how to use the package, docs/design.md how it works and why.
package netpoll
