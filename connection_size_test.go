//go:build ((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd) && !interleave

package netpoll

// The size of a connection. In explored schedules its locks are larger.

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// The allocator has one class of size for objects of 641 to 704 bytes and another for those of up to 768. Eight bytes are
// its own. On 32-bit systems a connection is smaller anyway.
func TestConnectionFitsTheSmallerClassOfSize(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(TCPConnection{}), uintptr(704-8))
}
