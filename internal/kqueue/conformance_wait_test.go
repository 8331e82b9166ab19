//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package kqueue_test

// This file holds the scenarios about waiting and waking.

import (
	"sync/atomic"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

var waitScenarios = []scenario{
	{"fair_with_one_slot", func(t *trace) {
		for i := range 3 {
			a, b := t.pair()
			t.ok(t.chg(a, kqueue.Read, kqueue.Add, uintptr(i+1)))
			t.send(b, "x")
		}
		t.settle()
		seen := map[uintptr]int{}
		for range 9 {
			for _, e := range t.poll(ms(0), 1) {
				seen[e.Udata]++
			}
		}
		t.logf("9 calls with room for 1: distinct=%d", len(seen))
	}},
	{"user_clear_coalesces", func(t *trace) {
		if !t.hasUser(kqueue.Add | kqueue.Clear) {
			return
		}
		t.rec("idle")
		for range 3 {
			t.ok(t.user(0, kqueue.Trigger, 11))
		}
		t.rec("3 triggers")
		t.rec("again")
		t.ok(t.user(0, kqueue.Trigger, 0))
		t.rec("trigger with udata 0 in the trigger change")
	}},
	{"user_trigger_change_carries_clear", func(t *trace) {
		if !t.hasUser(kqueue.Add | kqueue.Clear) {
			return
		}
		t.logf("EV_CLEAR+NOTE_TRIGGER: %s", errName(t.user(kqueue.Clear, kqueue.Trigger, 11)))
		t.rec("then")
		t.logf("EV_ADD|EV_CLEAR+NOTE_TRIGGER: %s", errName(t.user(kqueue.Add|kqueue.Clear, kqueue.Trigger, 11)))
		t.rec("then")
	}},
	{"user_level", func(t *trace) {
		if !t.hasUser(kqueue.Add) {
			return
		}
		t.ok(t.user(0, kqueue.Trigger, 11))
		t.rec("triggered")
		t.rec("again")
		t.logf("delete: %s", errName(t.user(kqueue.Delete, 0, 0)))
		t.rec("deleted")
	}},
	{"user_wakes_blocked_thread", func(t *trace) {
		if !t.hasUser(kqueue.Add | kqueue.Clear) {
			return
		}
		var got []kqueue.Info
		done := t.inSystemCall(func() { got = t.poll(ms(10_000), 4) })
		t.ok(t.user(0, kqueue.Trigger, 11))
		<-done
		t.recEvents("woken", got)
	}},
	{"add_while_blocked", func(t *trace) {
		a, b := t.pair()
		t.send(b, "x")
		t.settle()
		var got []kqueue.Info
		done := t.inSystemCall(func() { got = t.poll(ms(10_000), 4) })
		t.ok(t.chg(a, kqueue.Read, kqueue.Add, 3))
		<-done
		t.recEvents("another thread adds a ready fd", got)
	}},
	{"two_waiters_one_event", func(t *trace) {
		a, b := t.pair()
		t.ok(t.chg(a, kqueue.Read, kqueue.Add|kqueue.Clear, 0))
		var got atomic.Int32
		wait := func() { got.Add(int32(len(t.poll(ms(400), 4)))) }
		first, second := t.inSystemCall(wait), t.inSystemCall(wait)
		t.send(b, "x")
		<-first
		<-second
		t.logf("events delivered in total: %d", got.Load())
	}},
}
