package main

// This file holds the scenarios: which attack on which server, and the limits.

import (
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

// scenario is one attack on one kind of server.
type scenario struct {
	name   string
	what   string // what the peers do
	server victim.Config
	attack func(a *attacker)
	peers  int // how many the command uses
	short  int // how many the test uses

	held int64 // bytes that the server may hold for one peer
	rest int64 // bytes that it may hold for an idle peer after a garbage collection; 0: peers are never idle
	// conns is how many connections there may be besides those of the well-behaved clients; 0: as many as peers.
	conns int64
	// ends says that the server closes connections: by a timeout, by a limit, or because the peer has half-closed.
	ends bool
	// idle says that the attack, once begun, gives the server nothing to do. The server must be idle then.
	idle bool
	// twice says that peers connect again while the server still has their last connection.
	twice bool
	// slowest is the limit on how much longer well-behaved clients wait than over package net; 0: slowest, below.
	slowest int
	// full says that arrivals have to wait until the end of the attack.
	full bool
}

const (
	// slowest is a limit for the 99th percentile of the well-behaved client's latency during an attack: a multiple of
	// its latency with a server over package net under the same attack. The peers take processor time from both
	// servers. A scenario may have another limit.
	slowest = 10
	// shortWait is a minimum: shorter latencies count as this. The Go scheduler alone may make a goroutine wait so long.
	shortWait = 10 * time.Millisecond
)

const (
	kib = 1 << 10
	mib = 1 << 20

	// connection is the most that an idle connection may cost, with its task, in bytes.
	connection = 4 * kib
	// stack is the most that a waiting handler may cost in addition, in bytes.
	stack = 16 * kib
	// handshake is the most that one of TLS may cost in addition, and what is left of it, in bytes.
	handshake = 64 * kib
	// most is the connection limit, in the scenarios that have one. Those of the well-behaved client count, too.
	most = 64
)

var scenarios = []scenario{
	{
		name: "slowloris", what: "announces 60 KiB, sends a byte each 200 ms; the handler returns until all is there",
		attack: slowloris, peers: 5000, short: 300,
		held: connection + 4*kib, rest: connection + 4*kib,
	},
	{
		name: "slowloris-waiting", what: "the same; the handler waits, for 500 ms at most",
		server: victim.Config{Waiting: true, ReadTimeout: 500 * time.Millisecond},
		attack: slowloris, peers: 2000, short: 200,
		held: connection + 64*kib + stack, twice: true, ends: true,
	},
	{
		name: "half-open", what: "connects, and nothing",
		attack: silence, peers: 8000, short: 500,
		held: connection, rest: connection, idle: true,
	},
	{
		name: "half-open-limited", what: "the same; the server has an idle limit of 500 ms",
		server: victim.Config{IdleLimit: 500 * time.Millisecond},
		attack: silence, peers: 4000, short: 300,
		held: connection, twice: true, ends: true,
	},
	{
		name: "half-open-backlog", what: "connects, to a server with all places taken and a backlog of 16",
		server: victim.Config{MaxConns: most, Backlog: 16},
		attack: pendingConnects, peers: 2000, short: 300,
		held: connection, conns: most, full: true, idle: true,
	},
	{
		name: "half-closed", what: "sends a part of a header, ends its side, and stays",
		attack: halfClose, peers: 2000, short: 200,
		held: connection + 8*kib, twice: true, ends: true,
	},
	{
		name: "flood-waiting", what: "connects; the server has a bound on connections",
		server: victim.Config{MaxConns: most},
		attack: pendingConnects, peers: 8000, short: 500,
		held: connection, conns: most, full: true, idle: true,
	},
	{
		name: "flood-turned-away", what: "connects again and again; OnPrepare closes what is too much",
		server: victim.Config{TurnAway: most},
		attack: comesBack, peers: 2000, short: 200,
		held: connection, conns: most + 1024, full: true, ends: true, // with those that are being closed
	},
	{
		name: "descriptors", what: "connects; the server may have 100 descriptors",
		server: victim.Config{Descriptors: 100},
		attack: pendingConnects, peers: 3000, short: 400,
		held: connection, conns: 100, full: true, idle: true,
	},
	{
		name: "reset-storm", what: "connects, sends 0 to 13 bytes, resets; 8 at a time as fast as they can",
		attack: resetStorm, peers: 8, short: 4,
		held: connection + 16*kib, conns: 1024,
	},
	{
		name: "never-reads", what: "asks for 256 KiB again and again, reads nothing; write timeout of 500 ms",
		server: victim.Config{ReadLimit: 64 * kib, WriteTimeout: 500 * time.Millisecond},
		attack: neverReads, peers: 300, short: 30,
		held: 2*256*kib + 2*64*kib, twice: true, ends: true,
		// When all requests come at once, handlers queue up for processors and for the garbage collector. The poll
		// goroutine queues with them, again for each step of a request.
		slowest: 20,
	},
	{
		name: "sends-for-ever", what: "sends without end, reads nothing; read limit as it is, 1 MiB, no timeouts",
		attack: sendsForEver, peers: 100, short: 10,
		held: 2 * mib, idle: true,
	},
	{
		name: "sends-and-stays", what: "one exchange of 64 KiB, then nothing, and never closes",
		attack: sendsAndStays, peers: 5000, short: 300,
		held: connection + 4*64*kib, rest: connection, idle: true,
	},
	{
		name: "tiny-window", what: "the least receive buffer; asks for 64 KiB, reads 16 bytes each 200 ms; write timeout 1 s",
		server: victim.Config{ReadLimit: 64 * kib, WriteTimeout: time.Second},
		attack: tinyWindow, peers: 1000, short: 100,
		held: connection + 4*64*kib + stack, twice: true, ends: true,
	},
	{
		name: "one-byte-segments", what: "requests of 64 bytes in 64 segments, as many as it can",
		attack: oneByteSegments, peers: 200, short: 30,
		held: connection + 8*kib,
	},
	{
		name: "giant-frame", what: "announces 1 GiB, sends 3 bytes of it; the handler waits for all of it",
		server: victim.Config{Waiting: true, MaxFrame: 1 << 30},
		attack: giantFrame, peers: 200, short: 20,
		held: mib + connection + stack, idle: true,
	},
	{
		name: "tls-slow-hello", what: "sends a ClientHello, a byte each 200 ms; a handshake may take 500 ms",
		server: victim.Config{TLS: true, HandshakeTimeout: 500 * time.Millisecond},
		attack: slowHello, peers: 2000, short: 200,
		held: connection + handshake, twice: true, ends: true,
	},
	{
		name: "tls-garbage", what: "sends a record that is no ClientHello, and connects again",
		server: victim.Config{TLS: true},
		attack: garbage, peers: 500, short: 50,
		held: connection + handshake, conns: 4096, ends: true,
	},
	{
		name: "tls-handshakes", what: "one handshake after the other, and resets",
		server: victim.Config{TLS: true},
		attack: handshakes, peers: 16, short: 4,
		held: connection + handshake, conns: 1024,
	},
	{
		name: "tls-hello-again", what: "begins a second handshake in each session",
		server: victim.Config{TLS: true},
		attack: helloAgain, peers: 16, short: 4,
		held: connection + handshake, conns: 1024,
	},
	{
		name: "tls-slow-record", what: "sends a record of 16 KiB, a byte each 200 ms",
		server: victim.Config{TLS: true},
		attack: slowRecord, peers: 500, short: 50,
		held: connection + handshake,
	},
	{
		name: "tls-key-updates", what: "asks for new keys without end, reads no answer",
		server: victim.Config{TLS: true},
		attack: keyUpdates, peers: 50, short: 10,
		held: connection + handshake + 256*kib,
	},
	{
		name: "tls-tiny-records", what: "requests of 64 bytes in 64 records, as many as it can",
		server: victim.Config{TLS: true},
		attack: tinyRecords, peers: 50, short: 10,
		held: connection + handshake + 64*kib,
	},
}

func find(name string) (scenario, bool) {
	for _, s := range scenarios {
		if s.name == name {
			return s, true
		}
	}
	return scenario{}, false
}
