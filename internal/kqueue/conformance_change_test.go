//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package kqueue_test

// This file holds the scenarios about changes: adding, deleting, disabling.

import (
	"fmt"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

var changeScenarios = []scenario{
	{"delete_semantics", func(t *trace) {
		a, _ := t.pair()
		t.logf("delete unknown: %s", errName(t.chg(a, kqueue.Read, kqueue.Delete, 0)))
		c := oneChange(a, kqueue.Read, kqueue.Delete, 9)
		ev := kqueue.NewEvents(4)
		n, err := t.call(c, ev, ms(0))
		t.logf("delete unknown, room for events: n=%d %s", n, errName(err))
		if n > 0 {
			e := ev[0].Decode()
			t.logf("  %s", t.show(e))
		}
		t.logf("add bad fd: %s", errName(t.chg(9999, kqueue.Read, kqueue.Add, 0)))
		t.logf("enable unknown: %s", errName(t.chg(a, kqueue.Read, kqueue.Enable, 0)))
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 0))
		t.close(a)
		t.logf("delete after close: %s", errName(t.chg(a, kqueue.Read, kqueue.Delete, 0)))
	}},
	{"changelist_partial_failure", func(t *trace) {
		a, b := t.pair()
		t.send(b, "x")
		t.settle()
		c := kqueue.NewEvents(2)
		c[0].Set(kqueue.Change{Ident: a, Filter: kqueue.Write, Flags: kqueue.Delete, Udata: 1}) // fails
		c[1].Set(kqueue.Change{Ident: a, Filter: kqueue.Read, Flags: kqueue.Add, Udata: 2})     // must still be applied
		ev := kqueue.NewEvents(4)
		n, err := t.call(c, ev, ms(0))
		var s []kqueue.Info
		for i := range n {
			s = append(s, ev[i].Decode())
		}
		t.recEvents(fmt.Sprintf("with room n=%d %s", n, errName(err)), s)
		t.rec("second change applied?")
	}},
	{"changelist_partial_failure_noroom", func(t *trace) {
		a, b := t.pair()
		t.send(b, "x")
		t.settle()
		c := kqueue.NewEvents(2)
		c[0].Set(kqueue.Change{Ident: a, Filter: kqueue.Write, Flags: kqueue.Delete, Udata: 1})
		c[1].Set(kqueue.Change{Ident: a, Filter: kqueue.Read, Flags: kqueue.Add, Udata: 2})
		n, err := t.call(c, nil, ms(0))
		t.logf("no room n=%d %s", n, errName(err))
		t.rec("second change applied?")
	}},
	{"readd_updates_udata", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 1))
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 2))
		t.send(b, "x")
		t.rec("1 byte")
	}},
	{"readd_clears_clear_flag", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 0))
		t.send(b, "x")
		t.rec("1 byte")
		t.rec("again (repeats if EV_CLEAR was dropped)")
	}},
	{"disable_enable", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 5))
		t.ok(t.chg(a, kqueue.Read, kqueue.Disable, 5))
		t.send(b, "x")
		t.rec("disabled")
		t.ok(t.chg(a, kqueue.Read, kqueue.Enable, 5))
		t.rec("enabled")
		t.rec("again")
		t.ok(t.chg(a, kqueue.Read, kqueue.Disable, 5))
		t.ok(t.chg(a, kqueue.Read, kqueue.Enable, 5))
		t.rec("toggled, data still there")
	}},
	{"ev_add_on_disabled_enables", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 5))
		t.ok(t.chg(a, kqueue.Read, kqueue.Disable, 5))
		t.send(b, "x")
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 5))
		t.rec("after EV_ADD")
		t.ok(t.chg(a, kqueue.Read, kqueue.Enable, 5))
		t.rec("after EV_ENABLE")
	}},
	{"dispatch", func(t *trace) {
		if !kqueue.HaveReceipt {
			t.logf("n/a")
			return
		}
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Dispatch, 0))
		t.send(b, "x")
		t.rec("1 byte")
		t.rec("again")
		t.ok(t.chg(a, kqueue.Read, kqueue.Enable|kqueue.Dispatch, 0))
		t.rec("enabled")
	}},
	{"receipt", func(t *trace) {
		if !kqueue.HaveReceipt {
			t.logf("n/a")
			return
		}
		a, b := t.pair()
		t.send(b, "x")
		t.settle()
		c := oneChange(a, kqueue.Read, kqueue.Add|kqueue.Receipt, 4)
		ev := kqueue.NewEvents(4)
		n, err := t.call(c, ev, ms(0))
		t.logf("n=%d %s", n, errName(err))
		for i := range n {
			e := ev[i].Decode()
			t.logf("  error flag=%v data=%d", e.Flags&kqueue.Error != 0, e.Data)
		}
	}},
	{"close_removes_knotes", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 1))
		t.ok(t.chg(a, kqueue.Write, kqueue.Add, 1))
		t.send(b, "x")
		t.settle()
		t.close(a)
		t.rec("closed with event pending")
	}},
	{"fd_reuse_is_clean", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 1))
		t.ok(t.chg(a, kqueue.Write, kqueue.Add, 1))
		t.close(a)
		t.close(b)
		a2, b2 := t.pair()
		t.send(b2, "x")
		t.rec("new sockets, nothing registered")
		t.logf("delete on new fd: %s", errName(t.chg(min(a2, b2), kqueue.Read, kqueue.Delete, 0)))
	}},
	{"returned_action_flags", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Enable|kqueue.Clear, 1))
		t.send(b, "x")
		t.settle()
		for _, e := range t.poll(ms(0), 4) {
			t.logf("flags=%s", flagNames(e.Flags))
		}
	}},
	{"udata_change_through_enable", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 1))
		t.logf("enable: %s", errName(t.chg(a, kqueue.Read, kqueue.Enable, 2)))
		t.send(b, "x")
		t.rec("1 byte")
	}},
	{"delete_discards_pending", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 1))
		t.send(b, "x")
		t.settle()
		t.ok(t.chg(a, kqueue.Read, kqueue.Delete, 0))
		t.rec("deleted with event pending")
	}},
	{"dup_then_close_original", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 1))
		t.dup(a)
		t.close(a)
		t.send(b, "x")
		t.rec("file still open through the dup")
	}},
}
