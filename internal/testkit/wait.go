// Package testkit holds helpers for the tests of all packages that do not need netpoll: waiting for events, bytes that
// show when they are misplaced, logs, processes, plain connections. Package testnet, which uses netpoll, adds servers
// and connections of it.
//
// A helper that takes a [testing.TB] ends the test if an event does not happen in time.
package testkit

// This file holds waiting: for events that must happen, and to see that others do not.

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

const (
	// Timeout is how long a test waits for an event that must happen. Only a failing test waits that long.
	Timeout = 20 * time.Second
	// Calm is how long a test waits to see that an event does not happen.
	Calm = 50 * time.Millisecond
	// Short is a timeout of the library that the test lets expire.
	Short = 60 * time.Millisecond
	// Ample is a timeout of the library that must not expire: the test is quick, but a busy machine may be slow.
	Ample = 8 * Short
)

// Eventually waits until cond holds. what, a format and its arguments, may describe cond.
func Eventually(t testing.TB, cond func() bool, what ...any) {
	t.Helper()
	limit := time.After(Timeout)
	for pause := 50 * time.Microsecond; !cond(); pause = min(2*pause, 5*time.Millisecond) {
		select {
		case <-limit:
			fail(t, Timeout, what)
		case <-time.After(pause):
		}
	}
}

// Receive returns the value that arrives on ch, or the zero value when ch is closed.
func Receive[T any](t testing.TB, ch <-chan T, what ...any) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(Timeout):
		fail(t, Timeout, what)
	}
	return v
}

// Silent fails the test if a value arrives on ch within d. d is [Calm] unless the test needs longer.
func Silent[T any](t testing.TB, d time.Duration, ch <-chan T, what string) {
	t.Helper()
	select {
	case v := <-ch:
		if conn, ok := any(v).(net.Conn); ok { // printing its fields would be a race
			t.Fatalf("%s too early, with %T", what, conn)
		}
		t.Fatalf("%s too early, with %v", what, v)
	case <-time.After(d):
	}
}

// Within calls f and ends the test if f has not returned after d. f must not end the test itself.
func Within(t testing.TB, d time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		fail(t, d, nil)
	}
}

// Repeat calls f again and again in a goroutine of its own, with 0, 1, 2 …, until f returns false or stop is called. stop
// returns when the goroutine has ended. So does the test, however it ends: what goes on would take the processor from
// those that follow.
func Repeat(t testing.TB, f func(i int) (again bool)) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; f(i); i++ {
			select {
			case <-end:
				return
			default:
			}
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() { close(end) })
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// ErrorOf returns the error of a call that returns another value, too.
func ErrorOf[T any](_ T, err error) error { return err }

// fail ends the test, which has waited for d, and prints the stacks of all goroutines.
func fail(t testing.TB, d time.Duration, what []any) {
	t.Helper()
	text := ""
	if len(what) > 0 {
		text = " for " + fmt.Sprintf(fmt.Sprint(what[0]), what[1:]...)
	}
	t.Fatalf("waited %v in vain%s\n%s", d, text, Stacks())
}
