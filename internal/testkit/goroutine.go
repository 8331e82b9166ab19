package testkit

// This file finds out from stack traces what goroutines do.

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Blocked calls f in a goroutine and returns when f is blocked. The channel delivers the result of f.
func Blocked(t testing.TB, f func() error) <-chan error {
	t.Helper()
	ids, result := make(chan int, 1), make(chan error, 1)
	go func() {
		ids <- goroutineID()
		result <- f()
	}()
	id := Receive(t, ids)
	Eventually(t, func() bool {
		select {
		case err := <-result:
			t.Fatalf("returned instead of waiting, with error %v", err)
		default:
		}
		return isWaiting(id)
	})
	return result
}

// goroutineID returns the number of the calling goroutine, as in stack traces.
func goroutineID() (id int) {
	var buf [64]byte
	head := string(buf[:runtime.Stack(buf[:], false)])
	id, err := strconv.Atoi(strings.Fields(head)[1])
	if err != nil {
		panic(fmt.Sprintf("no number in %q", head))
	}
	return id
}

// isWaiting reports whether the goroutine is blocked on something other than a lock.
func isWaiting(id int) bool {
	head := fmt.Sprintf("goroutine %d ", id)
	for trace := range strings.SplitSeq(Stacks(), "\n\n") {
		if state, ok := strings.CutPrefix(trace, head); ok {
			state, _, _ = strings.Cut(state, "\n")
			return strings.Contains(state, "[select") || strings.Contains(state, "[IO wait") || strings.Contains(state, "[chan receive") ||
				strings.Contains(state, "[sync.Cond.Wait")
		}
	}
	return false
}

// Stacks returns the stack traces of all goroutines.
func Stacks() string {
	for size := 64 << 10; ; size *= 4 { // usually there are few goroutines
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size >= 4<<20 {
			return string(buf[:n])
		}
	}
}
