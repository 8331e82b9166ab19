//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package kqueue_test

// This file holds the scenarios about room to send.

import (
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

var writeScenarios = []scenario{
	{"write_idle_level", func(t *trace) {
		a, _ := t.pair()
		t.ok(t.chg(a, kqueue.Write, kqueue.Add, 3))
		t.rec("idle")
		t.rec("again")
		t.ok(t.chg(a, kqueue.Write, kqueue.Delete, 0))
		t.rec("deleted")
	}},
	{"write_full_then_drained", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		n := t.fill(a)
		t.poll(ms(0), 16) // room may have come and gone meanwhile
		t.rec("full")
		t.drain(b, n)
		t.rec("drained by peer")
	}},
	{"write_clear_small_write", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		t.send(a, "x")
		t.send(b, "y") // carries the acknowledgement, which may be delayed otherwise
		t.rec("1 byte sent and ACKed")
		t.logf("%s", t.recv(b, 10))
	}},
	{"write_eof_local_shutdown", func(t *trace) {
		a, _ := t.pair()
		t.ok(t.chg(a, kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		t.ok(shutdownWrite(a))
		t.rec("shutdown(WR)")
	}},
	{"peer_close_read_and_write", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.ok(t.chg(a, kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		t.close(b)
		t.rec("peer closed (FIN)")
	}},
	{"unconnected_socket", func(t *trace) {
		l, _ := t.listen()
		t.ok(t.chg(l, kqueue.Write, kqueue.Add, 0))
		t.rec("WRITE on a listener")
	}},
	{"pipe_reader_close", func(t *trace) {
		p := t.pipe()
		t.ok(t.chg(p[1], kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		t.close(p[0])
		t.rec("reader closed")
	}},
	{"read_and_write_are_two_events", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 1))
		t.ok(t.chg(a, kqueue.Write, kqueue.Add|kqueue.Clear, 2))
		t.send(b, "x")
		t.rec("both")
		t.send(b, "y")
		t.rec("read edge only")
	}},
	{"rst_while_connected_write_only", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		t.ok(lingerZero(b))
		t.close(b)
		t.rec("RST")
		n, err := unix.Write(a, []byte("x"))
		t.logf("write: %d %s", n, errName(err))
		n, err = unix.Write(a, []byte("x"))
		t.logf("write again: %d %s", n, errName(err))
	}},
	{"fin_then_write_gets_rst", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.ok(t.chg(a, kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.close(b)
		t.rec("FIN")
		n, err := unix.Write(a, []byte("x"))
		t.logf("write: %d %s", n, errName(err))
		t.rec("RST answered")
		n, err = unix.Write(a, []byte("x"))
		t.logf("write again: %d %s", n, errName(err))
		t.logf("%s", t.recv(a, 1))
	}},
	{"connect_ok", func(t *trace) {
		_, port := t.listen()
		c, err := t.connect(port, true)
		if err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		t.ok(t.chg(c, kqueue.Write, kqueue.Add|kqueue.Oneshot, 0))
		t.rec("write")
		e, err := socketError(c)
		t.logf("SO_ERROR=%s (%s)", errnoName(int64(e)), errName(err))
	}},
}
