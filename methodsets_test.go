//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll_test

// This file holds what the method sets of values that the package hands out are held to: those of the original, which
// testdata/methodsets.txt has and compat/methodsets records, and the list of what is different on purpose. A method more
// is a difference too: programs ask by type assertions what a value can do, and go another way if it can do more.

import (
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

const methodSetsFile = "testdata/methodsets.txt"

// difference is one group of methods that values of ours have and the original's have not, or the other way round.
type difference struct {
	why    string
	values []string // the beginnings of their names
	has    []string // methods of ours alone
	lacks  []string // methods of the original's alone
	// like names a value of the original. These may have its methods, too.
	like string
	// mirrors is a type of the standard library. These may have its methods, too, with the same type.
	mirrors reflect.Type
}

// connections are the values with everything a Connection can do. The two views of one are such values as well.
var connections = []string{
	"dialed ", "served ", "accepted ", "connection ", "Reader of ", "Writer of ", "NewIOReader of the Reader of ",
	"NewIOWriter of the Writer of ", "NewReader of ", "NewWriter of ", "NewReadWriter of ",
}

// tcpValues and unixValues are those of connections that are a *TCPConnection or a *UnixConnection. What Reader and Writer
// return is not: it is below them.
var tcpValues, unixValues = valuesOver("tcp"), append(valuesOver("unix"), valuesOf("connection of a descriptor")...)

func valuesOver(network string) (list []string) {
	for _, conn := range []string{"dialed ", "served ", "accepted "} {
		list = append(list, valuesOf(conn+network)...)
	}
	return list
}

// valuesOf returns the values that are the connection of that name itself.
func valuesOf(conn string) []string {
	return []string{conn, "NewIOReader of the Reader of " + conn, "NewIOWriter of the Writer of " + conn}
}

// differences are those that are meant to be. Each method in has and lacks must be one.
var differences = []difference{
	{
		why:    "what the original does not tell of a connection, and has no bound for: see the guide",
		values: connections,
		has:    []string{"Context", "Draining", "ID", "NetConn", "SetAllowHalfOpen", "SetIdleLimit", "SetReadLimit"},
	},
	{
		why:    "one direction of the stream by itself, and the descriptor, as package net has them",
		values: connections,
		has:    []string{"CloseRead", "CloseWrite", "File", "SyscallConn"},
	},
	{
		why:    "what pools ask, as the original has it after v0.7.3",
		values: connections,
		has:    []string{"IsHealthyForReuse"},
	},
	{
		why:    "descriptors that a peer sends are kept for programs that want them",
		values: unixValues,
		has:    []string{"KeepDescriptors"},
	},
	{
		why:     "a connection over TCP is what a *net.TCPConn is",
		values:  tcpValues,
		mirrors: reflect.TypeFor[*net.TCPConn](),
	},
	{
		why:     "a connection over a Unix socket is what a *net.UnixConn is",
		values:  unixValues,
		mirrors: reflect.TypeFor[*net.UnixConn](),
	},
	{
		why:    "what Accept returns is a connection in full, as http.Serve and the like need it",
		values: []string{"accepted "},
		like:   "served tcp",
	},
	{
		why:    "the Reader and the Writer of a connection are its own, so that nothing is buffered twice",
		values: []string{"NewReader of ", "NewWriter of ", "NewReadWriter of "},
		like:   "served tcp",
	},
	{
		why:     "listeners on TCP are what a *net.TCPListener is",
		values:  []string{"listener tcp", "converted listener tcp"},
		mirrors: reflect.TypeFor[*net.TCPListener](),
	},
	{
		why:     "listeners on Unix sockets are what a *net.UnixListener is",
		values:  []string{"listener unix", "converted listener unix"},
		mirrors: reflect.TypeFor[*net.UnixListener](),
	},
	{
		why:     "a NetDialer is a net.Dialer, with all its options",
		values:  []string{"NewDialer"},
		mirrors: reflect.TypeFor[*net.Dialer](),
	},
	{
		why:    "getters that were dropped because the connection has ended are reported",
		values: []string{"queue "},
		has:    []string{"Err"},
	},
	{
		why:    "the original's lock is exported by mistake, and nobody else can hold it to any use",
		values: []string{"NewEventLoop"},
		lacks:  []string{"Lock", "TryLock", "Unlock"},
	},
}

func init() { checkMethodSets = compareMethodSets }

// Behaviour 9.2: the method set of every value handed out is the original's, but for a written list.
func compareMethodSets(t *testing.T, found map[string]methodSet) {
	recorded := recordedMethodSets(t)
	addOwnConnections(t, found, recorded)
	require.ElementsMatch(t, slices.Collect(maps.Keys(recorded)), slices.Collect(maps.Keys(found)),
		"compat/methodsets must record all values")
	seen := make(map[string]bool) // methods that made a difference, with its reason
	for name, have := range found {
		want := recorded[name]
		for method, typ := range have {
			if original, ok := want[method]; ok && typ != original {
				t.Errorf("%s: %s%s is %s%s in the original", name, method, typ, method, original)
			} else if !ok && !allowed(name, method, typ, recorded, seen) {
				t.Errorf("%s has %s%s, which the original has not and no difference names", name, method, typ)
			}
		}
		for method, typ := range want {
			if _, ok := have[method]; !ok && !leftOut(name, method, seen) {
				t.Errorf("%s lacks %s%s", name, method, typ)
			}
		}
	}
	for _, d := range differences {
		for _, method := range slices.Concat(d.has, d.lacks) {
			if !seen[d.why+method] {
				t.Errorf("%s is no difference any more: %s", method, d.why)
			}
		}
	}
}

// allowed reports whether a difference lets the value have the method.
func allowed(value, method, typ string, recorded map[string]methodSet, seen map[string]bool) (ok bool) {
	for _, d := range differences {
		if !d.of(value) {
			continue
		}
		if slices.Contains(d.has, method) {
			seen[d.why+method], ok = true, true
		}
		if recorded[d.like][method] == typ || d.mirrors != nil && methodsOf(d.mirrors)[method] == typ {
			ok = true
		}
	}
	return ok
}

// leftOut reports whether a difference lets the value lack the method.
func leftOut(value, method string, seen map[string]bool) (ok bool) {
	for _, d := range differences {
		if d.of(value) && slices.Contains(d.lacks, method) {
			seen[d.why+method], ok = true, true
		}
	}
	return ok
}

func (d *difference) of(value string) bool {
	return slices.ContainsFunc(d.values, func(prefix string) bool { return strings.HasPrefix(value, prefix) })
}

// recordedMethodSets reads the file; see methodSetText.
func recordedMethodSets(t *testing.T) map[string]methodSet {
	text, err := os.ReadFile(methodSetsFile)
	require.NoError(t, err)
	recorded := make(map[string]methodSet)
	for section := range strings.SplitSeq(string(text), "\n\n") {
		set := make(methodSet)
		for line := range strings.Lines(section) {
			line = strings.TrimSpace(line)
			if name, ok := strings.CutPrefix(line, "= "); ok {
				recorded[name] = set
			} else if at := strings.IndexByte(line, '('); at > 0 {
				set[line[:at]] = line[at:]
			}
		}
	}
	return recorded
}

// addOwnConnections adds connections of kinds that the original has not; they can do what others can.
func addOwnConnections(t *testing.T, found, recorded map[string]methodSet) {
	end, other := net.Pipe()
	defer other.Close()
	conn, err := netpoll.NewConnection(end)
	require.NoError(t, err)
	defer conn.Close()
	values := make(map[string]any)
	addConnection(t, values, "connection over a net.Conn", conn)
	for name, value := range values {
		found[name] = methodsOf(reflect.TypeOf(value))
		recorded[name] = recorded[strings.Replace(name, "over a net.Conn", "of a descriptor", 1)]
	}
}
