package plan

// This file holds what docs/performance.md shows: the rows of its table, and what its plots are drawn from.

import "slices"

// Row is a row of the table: the subject of this library under a scenario.
type Row struct {
	Name     string
	Scenario string
	Subject  string
	Limit    string // the subject that shows what the machine can do; empty if there is none
}

// Rows are the rows of the table, in their order.
var Rows = []Row{
	{"10 connections", "echo/conns=10/size=1024", Netpoll, Epoll},
	{"100 connections", "echo/conns=100/size=1024", Netpoll, Epoll},
	{"1000 connections", "echo/conns=1000/size=1024", Netpoll, Epoll},
	{"1000 connections, io_uring refused as in containers", "echo/conns=1000/size=1024", AIO, Epoll},
	{"20 000 requests/s over 100 connections", "load/rate=20000/conns=100/size=1024", Netpoll, Epoll},
	{"100 connections, handlers that work for 20 µs, two processors", "cores=2/conns=100/cpu=20µs", Netpoll, ""},
	{"TLS 1.3, 64 connections", "tls/conns=64/size=1024", Netpoll, ""},
	{"UDP, 64 bytes, 1000 peers", "udp/echo/peers=1000/size=64", Netpoll, Mmsg},
}

// Shown returns those of list that the table and the plots need.
func Shown(list []Scenario) (shown []Scenario) {
	for _, s := range list {
		row := slices.ContainsFunc(Rows, func(r Row) bool { return r.Scenario == s.Name })
		if row || s.Kind == Idle || s.Rate > 0 || s.Group == GroupConnections && s.Active == 0 {
			shown = append(shown, s)
		}
	}
	return shown
}
