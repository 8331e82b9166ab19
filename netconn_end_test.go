package netpoll

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What broke a Write may be what has ended the input; that nobody takes output any more is not.
func TestEndOfStreamAfterAWriteThatFailed(t *testing.T) {
	reset := &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
	for name, c := range map[string]struct{ broken, end error }{
		"no Write failed": {nil, io.EOF},
		"reset":           {reset, reset},
		"broken pipe":     {syscall.EPIPE, io.EOF},
		"without errno":   {errors.New("record too large"), io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.end, (&netConn{broken: c.broken}).endOfStream())
		})
	}
}
