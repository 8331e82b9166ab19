package plan

// This file holds the scenarios.

import (
	"cmp"
	"fmt"
	"slices"
)

var (
	everyServer = []string{Netpoll, Reference, Net, Gnet, Nbio, Epoll, Ring}
	libraries   = []string{Netpoll, Reference, Net, Gnet, Nbio}
	withSwitch  = []string{Netpoll, NoRing, AIO, Reference, Net, Gnet, Nbio, Epoll, Ring}
)

// GroupConnections is the group that is drawn over the number of connections.
const GroupConnections = "Throughput over connections"

// PeakScenario is the one whose throughput by the reference is the peak that PeakShare counts from.
const PeakScenario = "echo/conns=100/size=1024"

// Matrix returns the scenarios of the full form, the quick one, which leaves out what is similar to something else, or
// the smoke test.
func Matrix(quick, smoke bool) (list []Scenario) {
	if smoke {
		return filled(smokeTest())
	}
	list = append(list, connections(quick)...)
	list = append(list, sizes(quick)...)
	list = append(list, handlers(quick)...)
	list = append(list, loads(quick)...)
	list = append(list, idle(quick)...)
	list = append(list, pollers(quick)...)
	list = append(list, allCores(quick)...)
	list = append(list, clients(quick)...)
	list = append(list, calls(quick)...)
	list = append(list, web(quick)...)
	list = append(list, frameworkServers(quick)...)
	list = append(list, sessions(quick)...)
	list = append(list, datagrams(quick)...)
	list = append(list, local(quick)...)
	return filled(list)
}

// smokeTest sees every subject answer once.
func smokeTest() []Scenario {
	s := echo(10, 1<<10, withSwitch)
	s.Group = "Smoke test"
	load := echo(10, 1<<10, []string{Netpoll})
	load.Name, load.Group, load.Rate = "load/rate=2000/conns=10/size=1024", s.Group, 2000
	list := []Scenario{s, load}
	for _, sc := range slices.Concat(clients(true), web(true), frameworkServers(true), sessions(true), datagrams(true), local(true)) {
		switch sc.Kind {
		case IdleTLS:
			sc = idleSessions(50)
		case IdleLocal:
			sc = idleLocal(50)
		case Hertz, Kitex:
			sc.Subjects = sc.Subjects[:1] // they take long to build
		}
		if sc.Kind != Local && sc.Kind != IdleLocal { // their columns are others
			sc.Group = s.Group
		}
		list = append(list, sc)
	}
	return list
}

// filled sets what is not set.
func filled(list []Scenario) []Scenario {
	for i := range list {
		list[i].Depth = max(list[i].Depth, 1)
		list[i].Cores = max(list[i].Cores, 1)
		if list[i].Cores == 1 {
			list[i].Loops = max(list[i].Loops, 1)
		}
	}
	return list
}

func echo(conns, size int, subjects []string) Scenario {
	return Scenario{
		Name: fmt.Sprintf("echo/conns=%d/size=%d", conns, size), Kind: Echo, Subjects: subjects, Conns: conns, Size: size,
	}
}

func connections(quick bool) (list []Scenario) {
	counts := []int{1, 10, 100, 1000, 10000}
	if quick {
		counts = []int{1, 10, 100, 1000}
	}
	for _, n := range counts {
		s := echo(n, 1<<10, withSwitch)
		s.Group = GroupConnections
		list = append(list, s)
	}
	if quick {
		return list
	}
	s := echo(10000, 1<<10, everyServer)
	s.Name, s.Group, s.Active = "echo/conns=10000/active=500/size=1024", GroupConnections, 500
	list = append(list, s)
	s = echo(16, 64, libraries)
	s.Name, s.Group, s.Reconnect = "accept/conns=16/size=64", "Connections made, used once and closed, by the server", true
	return append(list, s)
}

func sizes(quick bool) (list []Scenario) {
	const group = "Throughput over message size"
	type shape struct{ conns, size, depth int }
	shapes := []shape{{100, 64, 1}, {100, 64 << 10, 1}, {10, 1 << 20, 1}, {4, 1 << 10, 32}}
	if quick {
		shapes = []shape{{100, 64 << 10, 1}, {4, 1 << 10, 32}}
	}
	for _, p := range shapes {
		s := echo(p.conns, p.size, everyServer)
		s.Group, s.Depth = group, p.depth
		if p.depth > 1 {
			s.Name += fmt.Sprintf("/depth=%d", p.depth)
		}
		list = append(list, s)
	}
	return list
}

func handlers(quick bool) (list []Scenario) {
	if quick {
		return nil
	}
	for _, h := range []struct {
		work  string
		conns int
	}{{"hash=32", 100}, {"sleep=1ms", 100}} {
		s := echo(h.conns, 1<<10, libraries)
		s.Name += "/work=" + h.work
		s.Group, s.Work = "Handlers that do something", h.work
		list = append(list, s)
	}
	return list
}

func loads(quick bool) (list []Scenario) {
	const group = "Latency and processor time at a fixed offered load"
	rates := []float64{5000, 20000, 40000}
	subjects := everyServer
	if quick {
		rates, subjects = []float64{5000, 40000}, libraries
	}
	for _, rate := range rates {
		s := echo(100, 1<<10, subjects)
		s.Name = fmt.Sprintf("load/rate=%.0f/conns=100/size=1024", rate)
		s.Group, s.Rate = group, rate
		list = append(list, s)
	}
	s := echo(100, 1<<10, libraries)
	s.Name, s.Group, s.PeakShare = "load/peak=60%/conns=100/size=1024", group, 0.6
	return append(list, s)
}

func idle(quick bool) (list []Scenario) {
	counts := []int{0, 1000, 5000, 15000}
	if quick {
		counts = []int{0, 5000}
	}
	for _, n := range counts {
		list = append(list, Scenario{
			Name: fmt.Sprintf("idle/conns=%d", n), Group: "Idle connections", Kind: Idle, Subjects: libraries,
			Conns: n, Size: 1 << 10,
		})
	}
	return list
}

func pollers(quick bool) (list []Scenario) {
	if quick {
		return nil
	}
	for _, n := range []int{1, 2, 4} {
		s := echo(100, 1<<10, []string{Netpoll, Reference, Net, Gnet})
		s.Name = fmt.Sprintf("pollers/loops=%d/cores=2/conns=100/size=1024", n)
		s.Group, s.Loops, s.Cores = "Pollers, server on two processors", n, 2
		list = append(list, s)
	}
	return list
}

// allCores measures what users run: handlers that work, and more than one processor. The generator shares those.
func allCores(quick bool) (list []Scenario) {
	counts, works := []int{100, 1000}, []string{"", "cpu=5µs", "cpu=9µs", "cpu=20µs", "cpu=100µs"}
	if quick {
		counts, works = []int{100}, []string{"", "cpu=20µs"}
	}
	for _, conns := range counts {
		for _, work := range works {
			s := echo(conns, 1<<10, []string{Netpoll, Reference, Net, Gnet})
			s.Name = fmt.Sprintf("cores=2/conns=%d/%s", conns, cmp.Or(work, "cpu=0"))
			s.Group, s.Work, s.Cores = "Handlers that work, server on two processors", work, 2
			list = append(list, s)
		}
	}
	return list
}

// LoopsOf is how many event loops a subject has in s: pollers for this library and the reference, which have their own
// default, and one for each processor for the others.
func (s Scenario) LoopsOf(subject string) int {
	switch {
	case s.Loops > 0:
		return s.Loops
	case subject == Netpoll || subject == NoRing || subject == Reference:
		return 1 // the default of both on two processors
	}
	return s.Cores
}

var callClients = []string{Netpoll, Reference, Net}

// clients are measured against a server that costs next to nothing.
func clients(quick bool) (list []Scenario) {
	const group = "Clients, against the limit server"
	for _, c := range []struct {
		mode           string
		callers, conns int
	}{{"pool", 100, 100}, {"mux", 100, 4}, {"dial", 16, 0}} {
		list = append(list, Scenario{
			Name:  fmt.Sprintf("client/mode=%s/callers=%d/size=1024", c.mode, c.callers),
			Group: group, Kind: Call, Subjects: callClients,
			Mode: c.mode, Callers: c.callers, Conns: c.conns, Size: 1 << 10, Server: Epoll,
		})
	}
	if quick {
		return list[:2]
	}
	return list
}

// calls are remote calls with the same library on both sides.
func calls(quick bool) (list []Scenario) {
	counts := []int{100, 500, 1000}
	if quick {
		counts = counts[:1]
	}
	for _, c := range []struct {
		name, mode string
		conns      func(callers int) int
	}{
		{"pool", "pool", func(n int) int { return n }},
		{"pool-80%-idle", "pool", func(n int) int { return 5 * n }},
		{"mux-4", "mux", func(int) int { return 4 }},
	} {
		for _, n := range counts {
			list = append(list, Scenario{
				Name:  fmt.Sprintf("rpc/%s/callers=%d/size=1024", c.name, n),
				Group: "Remote calls, the same library on both sides", Kind: Call, Subjects: callClients,
				Mode: c.mode, Callers: n, Conns: c.conns(n), Size: 1 << 10,
			})
		}
	}
	return list
}

func web(quick bool) []Scenario {
	s := Scenario{
		Name: "http/conns=100/size=1024", Group: "HTTP/1.1", Kind: HTTP,
		Subjects: []string{Netpoll, Reference, NetHTTP, FastHTTP}, Conns: 100, Size: 1 << 10,
	}
	if quick {
		return []Scenario{s}
	}
	wrk := s
	wrk.Name, wrk.Wrk = "http/wrk/conns=100/size=1024", true
	return []Scenario{s, wrk}
}

// frameworkServers are Hertz and Kitex, pinned to one processor, and on two, which they share with their load.
func frameworkServers(quick bool) (list []Scenario) {
	cores := []int{1, 2}
	if quick {
		cores = cores[:1]
	}
	for _, n := range cores {
		for _, kind := range []Kind{Hertz, Kitex} {
			list = append(list, Scenario{
				Name:  fmt.Sprintf("%s/cores=%d/conns=100/size=1024", kind, n),
				Group: "Frameworks, unchanged, by the server", Kind: kind, Subjects: []string{Netpoll, Reference, Net},
				Mode: "pool", Callers: 100, Conns: 100, Size: 1 << 10, Cores: n,
			})
		}
	}
	return list
}

// sessions are those of TLS.
func sessions(quick bool) (list []Scenario) {
	subjects := []string{Netpoll, NoRing, Net, Nbio}
	const group = "TLS 1.3, by the server"
	type shape struct{ conns, size int }
	shapes := []shape{{1, 100}, {1, 1 << 10}, {64, 1 << 10}, {8, 16 << 10}, {4, 256 << 10}}
	idle := []int{2000, 10000}
	if quick {
		shapes, idle = shapes[2:3], idle[:1]
	}
	for _, s := range shapes {
		list = append(list, Scenario{
			Name: fmt.Sprintf("tls/conns=%d/size=%d", s.conns, s.size), Group: group, Kind: TLS, Subjects: subjects,
			Mode: "pool", Callers: s.conns, Conns: s.conns, Size: s.size,
		})
	}
	for _, resumed := range []bool{false, true} {
		list = append(list, Scenario{
			Name:  "tls/handshake=" + map[bool]string{false: "full", true: "resumed"}[resumed],
			Group: "TLS 1.3 handshakes, by the server: each connection carries one request", Kind: TLS, Subjects: subjects,
			Mode: "dial", Callers: 16, Size: 64, Resumed: resumed,
		})
	}
	for _, n := range idle {
		list = append(list, idleSessions(n))
	}
	return list
}

func idleSessions(n int) Scenario {
	return Scenario{
		Name: fmt.Sprintf("tls/idle/conns=%d/size=%d", n, 16<<10), Group: "Idle sessions of TLS 1.3", Kind: IdleTLS,
		Subjects: []string{Netpoll, Net, Nbio}, Conns: n, Size: 16 << 10,
	}
}

func datagrams(quick bool) (list []Scenario) {
	subjects := []string{Netpoll, Net, Gnet, Wireguard, Mmsg}
	peers := []int{1, 64, 1000}
	if quick {
		peers = []int{64}
	}
	for _, n := range peers {
		list = append(list, Scenario{
			Name: fmt.Sprintf("udp/echo/peers=%d/size=64", n), Group: "Datagrams, by the server", Kind: UDP,
			Subjects: subjects, Mode: "echo", Conns: n, Size: 64,
		})
	}
	if quick {
		return list
	}
	const group = "Datagrams that are not answered: requests/s are those that the server received"
	for _, size := range []int{64, 1200} {
		list = append(list, Scenario{
			Name: fmt.Sprintf("udp/receive/size=%d", size), Group: group, Kind: UDP, Subjects: subjects,
			Mode: "send", Conns: 1, Size: size,
		})
	}
	return append(list, Scenario{
		Name: "udp/receive/sender=GSO/size=1200", Group: group, Kind: UDP, Mode: "segments", Conns: 1, Size: 1200,
		Subjects: []string{Netpoll, Segments, NoGRO, Net, Gnet, Wireguard},
	})
}

// local are servers and clients on one machine, over shared memory and over Unix sockets.
func local(quick bool) (list []Scenario) {
	const group = "Shared memory and Unix sockets"
	subjects := []string{Shm, ShmLarge, ShmBusy, Unix, NetUnix}
	sizes := []int{64, 64 << 10, 1 << 20}
	for _, size := range sizes {
		list = append(list, Scenario{
			Name: fmt.Sprintf("shm/ping/size=%d", size), Group: group + ": there and back, both sides together", Kind: Local,
			Subjects: subjects, Mode: "ping", Conns: 1, Size: size,
		})
	}
	for _, size := range sizes {
		batch := 1
		if size == 64 {
			batch = 64
		}
		list = append(list, Scenario{
			Name:  fmt.Sprintf("shm/oneway/size=%d/batch=%d", size, batch),
			Group: group + ": one way, both sides together; latency is that of sending a batch", Kind: Local,
			Subjects: subjects, Mode: "oneway", Conns: 1, Size: size, Batch: batch,
		})
	}
	if quick {
		list = []Scenario{list[0], list[3], list[4]}
	}
	return append(list, idleLocal(1000))
}

func idleLocal(n int) Scenario {
	return Scenario{
		Name: fmt.Sprintf("shm/idle/conns=%d/size=64", n), Group: "Idle connections over shared memory and Unix sockets",
		Kind: IdleLocal, Subjects: []string{Shm, Unix, NetUnix}, Mode: "idle", Conns: n, Size: 64,
	}
}
