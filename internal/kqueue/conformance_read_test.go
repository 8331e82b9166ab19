//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package kqueue_test

// This file holds the scenarios about input and its end.

import (
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

var readScenarios = []scenario{
	{"listen_backlog", func(t *trace) {
		l, port := t.listen()
		t.ok(t.chg(l, kqueue.Read, kqueue.Add, 0))
		t.rec("idle")
		c1, err := t.connect(port, false)
		t.ok(err)
		t.rec("1 pending")
		c2, err := t.connect(port, false)
		t.ok(err)
		t.rec("2 pending")
		a := t.accept(l)
		t.rec("after 1 accept")
		a2 := t.accept(l)
		t.rec("after 2 accepts")
		for _, f := range []int{l, c1, c2, a, a2} {
			t.close(f)
		}
	}},
	{"read_level", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 7))
		t.rec("idle")
		t.send(b, "hello")
		t.rec("5 bytes")
		t.rec("again")
		t.logf("%s", t.recv(a, 2))
		t.rec("3 left")
		t.logf("%s", t.recv(a, 10))
		t.rec("drained")
	}},
	{"read_clear", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 7))
		t.rec("idle")
		t.send(b, "hello")
		t.rec("5 bytes")
		t.rec("again")
		t.logf("%s", t.recv(a, 2))
		t.rec("3 left")
		t.send(b, "xy")
		t.rec("2 more")
		t.logf("%s", t.recv(a, 10))
		t.rec("drained")
	}},
	{"read_clear_consumed_before_wait", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.send(b, "hello")
		t.settle()
		t.logf("%s", t.recv(a, 10))
		t.rec("data gone before kevent")
	}},
	{"read_clear_readd_rearms", func(t *trace) {
		a, b := t.pair()
		t.send(b, "hello")
		t.settle()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.rec("added with data pending")
		t.rec("again")
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.rec("EV_ADD again, data still there")
	}},
	{"eof_with_data_level", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 0))
		t.send(b, "hello")
		t.ok(shutdownWrite(b))
		t.rec("data+FIN")
		t.logf("%s", t.recv(a, 10))
		t.rec("drained")
		t.logf("%s", t.recv(a, 10))
		t.rec("EOF read, level repeats")
	}},
	{"eof_with_data_clear", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.send(b, "hello")
		t.ok(shutdownWrite(b))
		t.rec("data+FIN")
		t.rec("again")
		t.logf("%s", t.recv(a, 10))
		t.rec("drained")
		t.logf("%s", t.recv(a, 10))
	}},
	{"eof_after_data_clear", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.send(b, "hello")
		t.rec("data")
		t.ok(shutdownWrite(b))
		t.rec("FIN, data unread")
		t.rec("again")
	}},
	{"eof_is_sticky_readd", func(t *trace) {
		a, b := t.pair()
		t.ok(shutdownWrite(b))
		t.settle()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.rec("added after FIN")
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.rec("added again")
	}},
	{"read_eof_local_shutdown", func(t *trace) {
		a, _ := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		t.ok(shutdownRead(a))
		t.rec("shutdown(RD)")
	}},
	{"oneshot", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Oneshot, 0))
		t.send(b, "x")
		t.rec("1 byte")
		t.rec("again")
		t.logf("delete: %s", errName(t.chg(a, kqueue.Read, kqueue.Delete, 0)))
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Oneshot, 0))
		t.rec("re-added")
	}},
	{"oneshot_consumed_before_wait", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Oneshot, 0))
		t.send(b, "x")
		t.settle()
		t.logf("%s", t.recv(a, 10))
		t.rec("data gone before kevent")
		t.logf("delete: %s", errName(t.chg(a, kqueue.Read, kqueue.Delete, 0)))
	}},
	{"pipe_writer_close", func(t *trace) {
		p := t.pipe()
		t.ok(t.chg(p[0], kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.send(p[1], "abc")
		t.rec("3 bytes")
		t.close(p[1])
		t.rec("writer closed, 3 unread")
	}},
	{"unix_peer_close", func(t *trace) {
		p := t.socketPair()
		unix.SetNonblock(p[0], true)
		t.ok(t.chg(p[0], kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.ok(t.chg(p[0], kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		t.send(p[1], "hello")
		t.rec("5 bytes")
		t.close(p[1])
		t.rec("peer closed, 5 unread")
		t.logf("%s", t.recv(p[0], 10))
		t.logf("%s", t.recv(p[0], 10))
	}},
}
