// Package plan holds what is measured: the subjects (servers and clients of each library) and the scenarios.
package plan

import (
	"fmt"
	"slices"
	"time"
)

// Subject is something that is measured: a program of this module, or of one below it, with its arguments.
type Subject struct {
	Name    string
	Dir     string   // of a module below the root of this one; "" for this one
	Package string   // below the root of its module
	ModFile string   // another go.mod to build it with; "" for the module's own
	Args    []string // before those of the scenario
	Env     []string // beyond that of the command
}

// Names of subjects. The first is this library.
const (
	Netpoll   = "netpoll"
	NoRing    = "netpoll-noring"
	AIO       = "netpoll-aio"
	Reference = "reference"
	Net       = "net"
	Gnet      = "gnet"
	Nbio      = "nbio"
	Epoll     = "limit-epoll"
	Ring      = "limit-ring"
	NetHTTP   = "net/http"
	FastHTTP  = "fasthttp"
	Segments  = "netpoll-segments" // datagrams that the system has joined stay so
	NoGRO     = "netpoll-nogro"    // it joins none
	Wireguard = "wireguard-go"
	Mmsg      = "limit-mmsg"
	Shm       = "netpoll-shm"      // shared memory
	ShmLarge  = "netpoll-shm-4m"   // with rings of 4 MiB
	ShmBusy   = "netpoll-shm-busy" // with rings of 1 MiB, and busy polling for 100 µs at both sides
	Unix      = "netpoll-unix"     // a Unix socket
	NetUnix   = "net-unix"
)

const referenceMod = "ref.mod"

// Servers are the echo servers.
var Servers = []Subject{
	{Name: Netpoll, Package: "./server/netpoll"},
	{Name: NoRing, Package: "./server/netpoll", Env: []string{"NETPOLL_IOURING=off", "NETPOLL_AIO=off"}},
	{Name: AIO, Package: "./server/netpoll", Env: []string{"NETPOLL_IOURING=off", "NETPOLL_AIO=auto"}},
	{Name: Reference, Package: "./server/netpoll", ModFile: referenceMod},
	{Name: Net, Package: "./server/net"},
	{Name: Gnet, Package: "./server/gnet", Env: []string{"GNET_LOGGING_LEVEL=2"}}, // it logs to where answers go
	{Name: Nbio, Package: "./server/nbio"},
	{Name: Epoll, Package: "./server/limit", Args: []string{"-mode", "epoll"}},
	{Name: Ring, Package: "./server/limit", Args: []string{"-mode", "ring"}},
}

// HTTPServers are the HTTP servers.
var HTTPServers = []Subject{
	{Name: Netpoll, Package: "./server/netpollhttp"},
	{Name: Reference, Package: "./server/netpollhttp", ModFile: referenceMod},
	{Name: NetHTTP, Package: "./server/http", Args: []string{"-mode", "net"}},
	{Name: FastHTTP, Package: "./server/http", Args: []string{"-mode", "fasthttp"}},
}

// TLSServers are the echo servers with TLS.
var TLSServers = []Subject{
	{Name: Netpoll, Package: "./server/tls", Args: []string{"-mode", "netpoll"}},
	{Name: NoRing, Package: "./server/tls", Args: []string{"-mode", "netpoll"}, Env: []string{"NETPOLL_IOURING=off", "NETPOLL_AIO=off"}},
	{Name: Net, Package: "./server/tls", Args: []string{"-mode", "net"}},
	{Name: Nbio, Package: "./server/tls", Args: []string{"-mode", "nbio"}},
}

// UDPServers are the servers of datagrams.
var UDPServers = []Subject{
	{Name: Netpoll, Package: "./server/udp", Args: []string{"-mode", "netpoll"}},
	{Name: Segments, Package: "./server/udp", Args: []string{"-mode", "netpoll-segments"}},
	{Name: NoGRO, Package: "./server/udp", Args: []string{"-mode", "netpoll"}, Env: []string{"NETPOLL_GRO=off"}},
	{Name: Net, Package: "./server/udp", Args: []string{"-mode", "net"}},
	{Name: Gnet, Package: "./server/udp", Args: []string{"-mode", "gnet"}, Env: []string{"GNET_LOGGING_LEVEL=2"}},
	{Name: Wireguard, Package: "./server/udp", Args: []string{"-mode", "wireguard"}},
	{Name: Mmsg, Package: "./server/udp", Args: []string{"-mode", "limit"}},
}

// HertzServers and KitexServers are the frameworks, unchanged, over this library, the original and package net. They are in
// a module of their own, for what they need.
var (
	HertzServers = frameworks("./hertz")
	KitexServers = frameworks("./kitex")
)

func frameworks(pkg string) []Subject {
	return []Subject{
		{Name: Netpoll, Dir: "frameworks", Package: pkg, Args: []string{"-mode", "netpoll"}},
		{Name: Reference, Dir: "frameworks", Package: pkg, Args: []string{"-mode", "netpoll"}, ModFile: referenceMod},
		{Name: Net, Dir: "frameworks", Package: pkg, Args: []string{"-mode", "net"}},
	}
}

// KitexClient is the program that loads Kitex servers. It is not measured.
var KitexClient = Subject{Name: "kitexclient", Dir: "frameworks", Package: "./kitexclient"}

// LocalServers are the servers for clients on the same machine.
var LocalServers = []Subject{
	{Name: Shm, Package: "./server/local", Args: []string{"-mode", "shm"}},
	{Name: ShmLarge, Package: "./server/local", Args: []string{"-mode", "shm-4m"}},
	{Name: ShmBusy, Package: "./server/local", Args: []string{"-mode", "shm-busy"}},
	{Name: Unix, Package: "./server/local", Args: []string{"-mode", "unix"}},
	{Name: NetUnix, Package: "./server/local", Args: []string{"-mode", "net"}},
}

// LocalClients are their clients.
var LocalClients = []Subject{
	{Name: Shm, Package: "./client/local", Args: []string{"-over", "shm"}},
	{Name: ShmLarge, Package: "./client/local", Args: []string{"-over", "shm-4m"}},
	{Name: ShmBusy, Package: "./client/local", Args: []string{"-over", "shm-busy"}},
	{Name: Unix, Package: "./client/local", Args: []string{"-over", "unix"}},
	{Name: NetUnix, Package: "./client/local", Args: []string{"-over", "net"}},
}

// Packets is the program that loads servers of datagrams. It is not measured.
var Packets = Subject{Name: "packets", Package: "./client/packets"}

// Clients are the clients of remote calls.
var Clients = []Subject{
	{Name: Netpoll, Package: "./client/netpoll"},
	{Name: NoRing, Package: "./client/netpoll", Env: []string{"NETPOLL_IOURING=off", "NETPOLL_AIO=off"}},
	{Name: Reference, Package: "./client/netpoll", ModFile: referenceMod},
	{Name: Net, Package: "./client/net"},
}

// Kind is how a scenario is measured.
type Kind string

// The kinds.
const (
	Echo Kind = "echo" // the generator against a server
	Idle Kind = "idle" // connections without requests, against a server
	HTTP Kind = "http" // the generator, or wrk, against an HTTP server
	// Call measures a client of one library against the server of Server, or of the same library if that is empty.
	Call Kind = "call"
	// TLS measures a server of TLS under the load of a client over package net, which is not measured.
	TLS     Kind = "tls"
	UDP     Kind = "udp"      // a server of datagrams under the load of Packets
	Hertz   Kind = "hertz"    // the generator against a Hertz server
	Kitex   Kind = "kitex"    // a Kitex server under the load of KitexClient
	IdleTLS Kind = "idle-tls" // sessions without requests, which have echoed one message, against a server of TLS
	// Local measures a server and a client on one machine, of the same library, together.
	Local     Kind = "local"
	IdleLocal Kind = "idle-local" // connections that have echoed one message, against a server of Local
)

// Scenario is one row of the results: a load that every subject gets.
type Scenario struct {
	Name     string // slash separated, key=value where values vary
	Group    string // the table it is in
	Kind     Kind
	Subjects []string

	Conns  int
	Active int // 0 means all
	Size   int // payload, in bytes
	Depth  int
	Rate   float64 // 0 means a closed loop
	// PeakShare, if not 0, is the rate as a share of the reference's peak at 100 connections and 1 KiB, measured in the
	// same run.
	PeakShare float64
	Work      string
	Loops     int // 0 means 1, or, with several processors, what the library recommends
	Cores     int // of the server; 0 means 1

	Reconnect bool   // Echo: a new connection for each request
	Wrk       bool   // HTTP: loaded by wrk, where it is installed
	Mode      string // Call, TLS: pool, mux or dial; UDP: echo, send or segments; Local: ping or oneway
	Batch     int    // Local: messages that are sent together; 0 means 1
	Callers   int    // Call, TLS
	Resumed   bool   // TLS: sessions are resumed
	Server    string // Call
}

// Throughput reports whether more requests per second are better: a closed loop.
func (s Scenario) Throughput() bool {
	return s.Kind != Idle && s.Kind != IdleTLS && s.Kind != IdleLocal && s.Rate == 0 && s.PeakShare == 0
}

// Needs returns the programs that a scenario takes: those that are measured, and those beside them.
func (s Scenario) Needs() (needs []Subject) {
	add := func(list []Subject, names ...string) {
		for _, sub := range list {
			if slices.Contains(names, sub.Name) {
				needs = append(needs, sub)
			}
		}
	}
	switch s.Kind {
	case HTTP:
		add(HTTPServers, s.Subjects...)
	case TLS:
		add(TLSServers, s.Subjects...)
		add(Clients, Net)
	case IdleTLS:
		add(TLSServers, s.Subjects...)
	case Local, IdleLocal:
		add(LocalServers, s.Subjects...)
		add(LocalClients, s.Subjects...)
	case UDP:
		add(UDPServers, s.Subjects...)
		needs = append(needs, Packets)
	case Hertz:
		add(HertzServers, s.Subjects...)
	case Kitex:
		add(KitexServers, s.Subjects...)
		needs = append(needs, KitexClient)
	case Call:
		add(Clients, s.Subjects...)
		if s.Server != "" {
			add(Servers, s.Server)
		} else {
			add(Servers, s.Subjects...)
		}
	default:
		add(Servers, s.Subjects...)
		if s.PeakShare > 0 {
			add(Servers, Reference)
		}
	}
	return needs
}

// Length is how thorough a run is.
type Length struct {
	Warmup, Window time.Duration
	Reps           int
}

// The lengths.
var (
	Full  = Length{Warmup: 250 * time.Millisecond, Window: time.Second, Reps: 5}
	Quick = Length{Warmup: 100 * time.Millisecond, Window: 250 * time.Millisecond, Reps: 3}
	Smoke = Length{Warmup: 20 * time.Millisecond, Window: 80 * time.Millisecond, Reps: 1}
)

// Find returns the subject of that name.
func Find(list []Subject, name string) (Subject, error) {
	i := slices.IndexFunc(list, func(s Subject) bool { return s.Name == name })
	if i < 0 {
		return Subject{}, fmt.Errorf("no subject is named %q", name)
	}
	return list[i], nil
}

// Needed returns the programs that scenarios take. Some may be there more than once.
func Needed(list []Scenario) (subjects []Subject) {
	for _, s := range list {
		subjects = append(subjects, s.Needs()...)
	}
	return subjects
}

// Without leaves out the subjects for which drop returns true.
func (s Scenario) Without(drop func(name string) bool) Scenario {
	s.Subjects = slices.DeleteFunc(slices.Clone(s.Subjects), drop)
	return s
}

// Without leaves a subject out of all scenarios, and then scenarios without any.
func Without(list []Scenario, subject string) (rest []Scenario) {
	for _, s := range list {
		if s = s.Without(func(name string) bool { return name == subject }); len(s.Subjects) > 0 {
			rest = append(rest, s)
		}
	}
	return rest
}
