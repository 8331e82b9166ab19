package runner

// This file holds what happens to a call of the user's code that does not return: it has panicked, or it has ended its
// goroutine by runtime.Goexit, as t.FailNow of package testing does. A panic can be stopped. The end of a goroutine
// cannot: only deferred calls still run on it, so remaining work runs in one of those, or on another goroutine.

import "errors"

// ErrGoexit is the value that Guard reports for a call that has ended its goroutine.
var ErrGoexit = errors.New("ended its goroutine (runtime.Goexit)")

// Guard calls f. If f panics, failed is called with the value, and the panic ends here. If f ends its goroutine, failed
// is called with ErrGoexit; then the other deferred calls run, and the goroutine ends. The stack still shows where f
// was.
func Guard(f func(), failed func(value any)) {
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		if value == nil {
			value = ErrGoexit
		}
		failed(value)
	}()
	f()
	returned = true
}

// Protect calls f, which guards the user's code that it calls. If f still does not return, because that code has ended
// the goroutine, goOn is called in place of the rest of f.
func Protect(f, goOn func()) {
	returned := false
	defer func() {
		if !returned {
			goOn()
		}
	}()
	f()
	returned = true
}
