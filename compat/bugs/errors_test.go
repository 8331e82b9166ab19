package bugs

// Errors: when there is one, and which standard errors it matches.

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
)

// closedPort returns an address that nobody listens on.
func closedPort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// Behaviour 1.7: a failed dial returns a nil interface.
func TestFailedDialReturnsANilInterface(t *testing.T) {
	conn, err := netpoll.DialConnection("tcp", closedPort(t), patience)
	if err == nil {
		t.Fatal("no error")
	}
	if conn != nil {
		t.Fatalf("a %T that is not nil beside an error", conn)
	}
}

// Behaviour 2.3: a reset Is ECONNRESET.
func TestResetIsECONNRESET(t *testing.T) {
	conn, peer := pair(t)
	must(t, peer.SetLinger(0))
	must(t, peer.Close())
	_, err := conn.Reader().Next(1)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("a reset is %q", err)
	}
}

// Behaviour 2.3: a refused dial Is ECONNREFUSED.
func TestRefusedDialIsECONNREFUSED(t *testing.T) {
	if _, err := netpoll.DialConnection("tcp", closedPort(t), patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a refused dial is %q", err)
	}
}

// Behaviour 2.3: errors answer to the standard names: net.ErrClosed, os.ErrDeadlineExceeded.
func TestErrorsAnswerToTheStandardNames(t *testing.T) {
	for _, tc := range []struct{ code, name error }{
		{netpoll.ErrConnClosed, net.ErrClosed},
		{netpoll.ErrReadTimeout, os.ErrDeadlineExceeded},
		{netpoll.ErrWriteTimeout, os.ErrDeadlineExceeded},
		{netpoll.ErrDialTimeout, os.ErrDeadlineExceeded},
	} {
		if !errors.Is(netpoll.Exception(tc.code, "when tested"), tc.name) {
			t.Errorf("%q is not %q", tc.code, tc.name)
		}
	}
}

// Behaviour 2.4: io.ReadAll ends without an error at the end of the stream.
func TestReadAllEndsWithoutAnError(t *testing.T) {
	conn, peer := pair(t)
	send(t, peer, "everything")
	must(t, peer.Close())
	p, err := io.ReadAll(conn)
	if err != nil || string(p) != "everything" {
		t.Fatalf("%q and the error %v", p, err)
	}
}

// Behaviour 2.6: Exception keeps the chain of the error it wraps.
func TestExceptionKeepsTheChain(t *testing.T) {
	cause := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	if !errors.Is(netpoll.Exception(cause, "when tested"), syscall.ECONNRESET) {
		t.Fatal("the cause is lost")
	}
}

// Behaviour 2.6: Exception of nil does not panic.
func TestExceptionOfNilIsNoPanic(t *testing.T) {
	if err := netpoll.Exception(nil, "when tested"); err != nil {
		t.Fatal(err)
	}
}
