// Package netpoll is a network library on readiness events: connections that wait cost no goroutine, and their input
// and output are buffers that a program works in without copying.
//
// # Model
//
// A few pollers, goroutines of the package, ask the system which sockets have something to do. They receive into the
// input buffer of the connection. Then they wake the goroutine that waits in a method of [Reader] or in Read or, if
// there is none, run the connection's handler: on the spot as long as handlers are quick, else in a pool of goroutines.
// The handler, or any other goroutine, reads from the input buffer, writes into the output buffer, and calls Flush,
// which sends. On Linux, by io_uring or AIO, the receives and the sends of many connections are one system call.
//
// A server is an [EventLoop] with callbacks: [OnPrepare], [OnConnect], [OnRequest], [OnDisconnect] and, for each
// connection, any number of [CloseCallback] functions. A client dials with [DialConnection] or [DialContext] and either
// reads and writes as with package net or sets a handler by SetOnRequest. Every [Connection] is a full [net.Conn], and
// every [Listener] of this package a full [net.Listener]. What a connection of this package can do beyond that is in
// [StreamConnection].
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
// Unread input is limited, to 1 MiB by default: see [WithReadLimit].
//
// # Concurrency
//
// One goroutine at a time may use the Reader of a connection and one the Writer. They may be two different goroutines.
// Any number of goroutines may call Read and Write, and all other methods, above all Close, at any time. A second
// goroutine that breaks the rule gets [ErrConcurrentAccess]; nothing else happens. The handler of a connection never
// runs twice at the same time.
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
//	TLS                              the errors of crypto/tls, ErrConnClosed
//	TLS, cut inside a record         io.ErrUnexpectedEOF, ErrConnClosed
//	listener closed                  net.ErrClosed
//	Shutdown gave up waiting         *ShutdownError, which wraps the error of its context
//
// The timeouts implement [net.Error] with Timeout() == true.
//
// # Map
//
// The files of this package are in layers. A file uses names of its own layer and of those below it, and none above; a
// test checks this.
//
// Layer 6: servers, listeners, dialers, settings of the process
//
//	eventloop.go                     the server as its user sees it
//	server.go, connlimit.go          the server behind it, and how many connections it takes
//	acceptor.go, acceptor_socket.go, acceptor_netconn.go
//	                                 what accepts: for listeners that a poller watches, and for all others
//	listener.go                      listeners as their user sees them
//	listener_socket.go, listener_netconn.go, listener_other.go
//	                                 with a poller, over any net.Listener, on systems without a poller
//	dialer.go                        dialing
//	tls.go                           TLS for event loops, listeners and dialers
//	shm.go                           shared memory for listeners and dialers
//	udp_listen.go, packet_options.go how UDPConns are made
//	packet_loop.go, packet_server.go the server of datagrams as its user sees it, and what it does with one socket
//	packet_source_reader.go, packet_source_poller.go, packet_source_other.go
//	                                 what receives: a goroutine, or a poller if there is one
//	packet_connection.go, packet_connection_io.go
//	                                 connections over datagrams
//	config.go                        settings of the process
//	stats.go                         figures of the process
//
// Layer 5: connections, and sockets of datagrams
//
//	connection.go, connection_stream.go
//	                                 what a connection is, its addresses and settings; its face as a net.Conn
//	connection_interfaces.go         names for what it can do beyond Connection
//	newconn.go, newconn_poller.go, newconn_netconn.go, newconn_nofd.go, newconn_shm_linux.go, newconn_other.go
//	                                 how it is made: with a poller, without one, with and without descriptors
//	connection_state.go              its life: one word, and what may change it
//	connection_input.go, connection_window.go
//	                                 what its transport brings, and how much of it is taken
//	connection_read.go, connection_write.go
//	                                 Reader and Writer
//	connection_pending.go            output left to the poller
//	connection_callbacks.go          the user's functions: which there are, who calls them, when
//	connection_close.go              its end, and half-close
//	connection_idle.go, connection_context.go
//	                                 the idle limit, and the context that ends with it
//	connection_descriptor.go, connection_quiet.go
//	                                 the descriptor, lent to the user; a look past the buffer
//	connection_tcp.go, connection_unix.go
//	                                 options of sockets; messages with descriptors
//	control_socket.go, control_other.go
//	                                 descriptors that have arrived
//	connection_layer.go              what it does for a layer over its transport
//	connection_tls.go, connection_tls_upgrade.go
//	                                 connections with TLS, and those that change to it
//	connection_copy.go, connection_copy_linux.go, connection_copy_stream_linux.go, connection_copy_other.go
//	                                 ReadFrom and WriteTo, by splice
//	connection_sendfile_linux.go     ReadFrom of a file, by sendfile
//	options.go                       what connections of one server begin with, and those of the process
//	ioadapter.go                     adapters from and to package io
//	udp.go, udp_adapter.go           UDPConn, with the methods of package net, and over any net.PacketConn
//	packet.go, packet_batch.go       a datagram, and many with one call
//	packet_batch_unix.go, packet_batch_other.go
//	                                 how the system does that
//	packet_segments_unix.go, packet_split_unix.go
//	                                 how these are sent, and received
//	packet_slab.go                   memory for batches
//
// Layer 4: transports, which carry the bytes
//
//	transport.go                     the seam
//	transport_socket.go              sockets that a poller watches
//	transport_netconn.go, transport_netconn_send.go
//	                                 any net.Conn
//	transport_tls.go, transport_tls_handshake.go, transport_tls_open.go, transport_tls_seal.go
//	                                 TLS, as a layer over either: its states, how it begins, receives, and sends
//	transport_tls_wire.go            what package crypto/tls has for a net.Conn
//	transport_shm.go, transport_shm_linux.go, transport_shm_poll_linux.go, transport_shm_setup_linux.go, transport_shm_other.go
//	                                 shared memory: its settings, how bytes go through it, how both sides agree on it
//	shm_statistics.go, shm_statistics_linux.go
//	                                 what it counts
//
// Layer 3: pollers
//
//	poll.go, poll_event.go           a poller, and its events
//	poll_set.go                      the set of them
//	poll_slot.go                     how an event finds its handler
//	poll_worker.go, poll_handoff.go  the goroutines that take turns at polling, and what one may take from another
//	poll_leader.go, poll_inline.go   handlers on those goroutines, and how long they take
//	poll_watchdog.go, poll_block.go  handlers that do not return, and handlers that wait for a connection
//	poll_sleep_linux.go, poll_sleep_other.go
//	                                 where a worker sleeps
//	poll_stats.go                    what pollers count
//	poll_batch.go, features.go       one system call for a batch of receives and sends: how, and when
//	features_offload.go, features_offload_unix.go, features_offload_other.go
//	                                 which work on datagrams is left to the system
//	features_shm_linux.go, features_shm_other.go
//	                                 whether there is memory to share
//	poll_linux.go, poll_bsd.go, poll_other.go
//	                                 epoll, kqueue, neither
//
// Layer 2: buffers
//
//	linkbuffer.go, linkbuffer_read.go, linkbuffer_write.go
//	                                 LinkBuffer
//	block.go, memdebug.go            its memory, and finding uses of it after its Release
//	readwriter.go                    Reader and Writer
//
// Layer 1: what all others use
//
//	errors.go, log.go, network.go    errors, the logger, names of networks
//
// Packages below this one know nothing of it:
//
//	internal/aio                     the same as internal/uring, by Linux AIO, for where io_uring is refused
//	internal/alarm                   the timer of a poll loop
//	internal/errno                   what error codes mean
//	internal/fault                   where tests make system calls fail
//	internal/happens                 the order of memory that bytes through the kernel make
//	internal/iobatch                 what the two executors of batches, uring and aio, have in common
//	internal/interleave              atomics, locks and a clock, which the tests of schedules replace
//	internal/kqueue                  kqueue, and a model of it for tests on Linux
//	internal/metric                  counters and histograms
//	internal/runner                  where callbacks run
//	internal/sock                    system calls on sockets, on every system
//	internal/thread                  how much of a processor a goroutine has, and which thread
//	internal/tlsrecord               memory that is lent to a tls.Conn
//	internal/uring                   a ring for batches of system calls
//	internal/wait                    how a goroutine waits, timeouts and deadlines
//
// Above it are package mux, one connection for many writers, package framing, frames in a stream, and package pool,
// connections for reuse. Tests share internal/testkit and internal/testnet. The tests of the public behaviour are in test,
// and those of failing system calls in test/torture; export_faults.go gives the latter access to internals.
//
// docs/guide.md tells how to use the package, docs/design.md how it works and why.
package netpoll
