package compat

// What all tests share: no log output, waiting, and the proof that the frameworks use the library of this repository.

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// patience is how long a test waits for an event before it fails.
const patience = 30 * time.Second

// layer is what a framework does not see of its connections: TLS. nil means none.
type layer interface {
	listener(ln net.Listener) net.Listener
	dialer() netpoll.Dialer
	peer(conn net.Conn) net.Conn // the same as a client, of the standard library
}

// overTLS is TLS of the library. It is nil with the original, which has none.
var overTLS layer

// layers returns all there are.
func layers() []layer {
	if overTLS == nil {
		return []layer{nil}
	}
	return []layer{nil, overTLS}
}

// nameOver returns the name of what has a layer.
func nameOver(name string, l layer) string {
	if l == nil {
		return name
	}
	return name + " over TLS"
}

func TestMain(m *testing.M) {
	hlog.SetOutput(io.Discard)
	klog.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// await returns the value of event, or ends t if event neither delivers nor is closed in time.
func await[T any](t testing.TB, event <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-event:
	case <-time.After(patience):
		t.Fatal("no sign of " + what)
	}
	return v
}

// A binary has only one package netpoll, so its source file shows which library the frameworks use. The build
// information cannot show it, because that of a test binary has no list of modules.
func TestLibraryUnderTestIsThisRepository(t *testing.T) {
	_, here, _, ok := runtime.Caller(0)
	require.True(t, ok)
	f := runtime.FuncForPC(reflect.ValueOf(netpoll.NewEventLoop).Pointer())
	require.NotNil(t, f)
	library, _ := f.FileLine(f.Entry())
	require.Equal(t, filepath.Dir(filepath.Dir(here)), filepath.Dir(library))
}

// requireInactive waits until conn is inactive, because its peer has closed.
func requireInactive(t *testing.T, conn netpoll.Connection) {
	t.Helper()
	require.Eventually(t, func() bool { return !conn.IsActive() }, patience, time.Millisecond,
		"the connection did not notice its peer's close")
}
