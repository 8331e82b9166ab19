//go:build linux

package netpoll_test

// The memory debug mode in the service of other tests.

import (
	"testing"

	"github.com/cloudwego/netpoll"
)

// poisonMemory fills released memory with a pattern until the test ends, which fails if any is used.
func poisonMemory(t testing.TB) {
	t.Helper()
	netpoll.SetMemoryDebug(func(err error) { t.Error(err) })
	t.Cleanup(func() { netpoll.SetMemoryDebug(nil) })
}
