//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package kqueue_test

// This file holds the scenarios about connections that are reset or refused.

import (
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

var resetScenarios = []scenario{
	{"peer_rst", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.ok(t.chg(a, kqueue.Write, kqueue.Add|kqueue.Clear, 0))
		t.rec("idle")
		t.ok(lingerZero(b))
		t.close(b)
		t.rec("peer RST")
		t.logf("%s", t.recv(a, 10))
		t.logf("then %s", t.recv(a, 10))
	}},
	{"peer_rst_soerror_after_event", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.ok(lingerZero(b))
		t.close(b)
		t.rec("peer RST")
		e, err := socketError(a)
		t.logf("SO_ERROR=%s (%s)", errnoName(int64(e)), errName(err))
		e, err = socketError(a)
		t.logf("SO_ERROR=%s (%s)", errnoName(int64(e)), errName(err))
	}},
	{"peer_rst_with_pending_data", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.send(b, "hello")
		t.rec("data")
		t.ok(lingerZero(b))
		t.close(b)
		t.rec("RST with 5 unread")
		t.logf("%s", t.recv(a, 10))
		t.logf("then %s", t.recv(a, 10))
	}},
	{"connect_refused", func(t *trace) {
		l, port := t.listen()
		t.close(l)
		c, err := t.connect(port, true)
		t.logf("connect: %s", errName(err))
		if err == unix.EINPROGRESS {
			t.ok(t.chg(c, kqueue.Write, kqueue.Add|kqueue.Oneshot, 0))
			t.rec("write")
			e, err := socketError(c)
			t.logf("SO_ERROR=%s (%s)", errnoName(int64(e)), errName(err))
			e, _ = socketError(c)
			t.logf("SO_ERROR again=%s", errnoName(int64(e)))
		}
	}},
	{"connect_refused_both_filters", func(t *trace) {
		l, port := t.listen()
		t.close(l)
		c, err := t.connect(port, true)
		if err == unix.EINPROGRESS {
			t.ok(t.chg(c, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
			t.ok(t.chg(c, kqueue.Write, kqueue.Add|kqueue.Clear, 0))
			t.rec("refused")
			t.logf("%s", t.recv(c, 1))
		} else {
			t.logf("connect: %s", errName(err))
		}
	}},
}
