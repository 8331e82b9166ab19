//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll_test

// This file holds one of every value that the package hands out, and their method sets. It uses nothing but what the
// original library has too, so that compat/methodsets can build it with that one and record what it finds.

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"
)

var (
	recordMethodSets = flag.String("methodsets", "", "write the method sets of all values to a file, and check nothing")

	// checkMethodSets is what to do with them otherwise.
	checkMethodSets func(t *testing.T, found map[string]methodSet)
)

// methodSet has the type of each exported method by its name.
type methodSet map[string]string

func TestMethodSetsAreThoseOfTheOriginal(t *testing.T) {
	found := make(map[string]methodSet)
	for name, value := range handedOut(t) {
		found[name] = methodsOf(reflect.TypeOf(value))
	}
	if *recordMethodSets == "" {
		checkMethodSets(t, found)
	} else if err := os.WriteFile(*recordMethodSets, []byte(methodSetText(found)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// methodsOf returns the methods of a type that is no interface.
func methodsOf(typ reflect.Type) methodSet {
	set := make(methodSet)
	for m := range typ.Methods() {
		set[m.Name] = withoutReceiver(m.Type)
	}
	return set
}

// withoutReceiver writes a type down as both libraries would: the name of LinkBuffer is an alias in one of them.
func withoutReceiver(method reflect.Type) string {
	var in, out []string
	for i := 1; i < method.NumIn(); i++ {
		in = append(in, method.In(i).String())
	}
	for result := range method.Outs() {
		out = append(out, result.String())
	}
	if n := len(in); method.IsVariadic() {
		in[n-1] = "..." + method.In(n).Elem().String()
	}
	text := fmt.Sprintf("(%s) (%s)", strings.Join(in, ", "), strings.Join(out, ", "))
	return strings.ReplaceAll(text, "UnsafeLinkBuffer", "LinkBuffer")
}

// methodSetText writes the sets down: the names of all values that have a set, and then its methods.
func methodSetText(found map[string]methodSet) string {
	names := make(map[string][]string) // by the text of the set
	for name, set := range found {
		var lines []string
		for method, typ := range set {
			lines = append(lines, method+typ)
		}
		slices.Sort(lines)
		text := strings.Join(lines, "\n")
		names[text] = append(names[text], "= "+name)
	}
	var sections []string
	for text, list := range names {
		slices.Sort(list)
		sections = append(sections, strings.Join(list, "\n")+"\n"+text+"\n")
	}
	slices.Sort(sections)
	return strings.Join(sections, "\n")
}

// handedOut makes one of each.
func handedOut(t *testing.T) map[string]any {
	values := map[string]any{
		"NewDialer":  netpoll.NewDialer(),
		"Exception":  netpoll.Exception(netpoll.ErrEOF, "of a test"),
		"LinkBuffer": netpoll.NewLinkBuffer(),
	}
	addAdapters(t, values)
	dir := t.TempDir()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(dir, "served")} {
		addServed(t, values, network, address)
	}
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(dir, "accepted")} {
		addAccepted(t, values, network, address)
	}
	addDescriptor(t, values)
	addAddresses(t, values)
	return values
}

// bare is a Reader and a Writer that can do nothing else.
type bare struct {
	netpoll.Reader
	netpoll.Writer
}

func addAdapters(t *testing.T, values map[string]any) {
	type stream struct {
		io.Reader
		io.Writer
	}
	own := stream{strings.NewReader("abc"), io.Discard}
	rw := netpoll.NewReadWriter(own)
	values["NewReader"] = netpoll.NewReader(own)
	values["NewWriter"] = netpoll.NewWriter(own)
	values["NewReadWriter"] = rw
	values["NewIOReader of NewReader"] = netpoll.NewIOReader(netpoll.NewReader(own))
	values["NewIOWriter of NewWriter"] = netpoll.NewIOWriter(netpoll.NewWriter(own))
	values["NewIOReadWriter of NewReadWriter"] = netpoll.NewIOReadWriter(rw)
	values["NewIOReader of another's"] = netpoll.NewIOReader(bare{rw, rw})
	values["NewIOWriter of another's"] = netpoll.NewIOWriter(bare{rw, rw})
	values["NewIOReadWriter of another's"] = netpoll.NewIOReadWriter(bare{rw, rw})
	part, err := netpoll.NewReader(own).Slice(1)
	mustBeNil(t, err)
	values["Slice of NewReader"] = part
	b := netpoll.NewLinkBuffer()
	_, err = b.WriteString("abc")
	mustBeNil(t, err)
	mustBeNil(t, b.Flush())
	part, err = b.Slice(1)
	mustBeNil(t, err)
	values["Slice of a LinkBuffer"] = part
	values["NewIOReader of a LinkBuffer"] = netpoll.NewIOReader(b)
	values["NewIOWriter of a LinkBuffer"] = netpoll.NewIOWriter(b)
}

// addServed adds what a server hands out, and what its clients get.
func addServed(t *testing.T, values map[string]any, network, address string) {
	conns, parts := make(chan netpoll.Connection, 8), make(chan netpoll.Reader, 1)
	loop, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error {
		part, err := conn.Reader().Slice(1)
		if err == nil { // else it is called for the end
			parts <- part
		}
		return err
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		conns <- conn
		return context.Background()
	}))
	mustBeNil(t, err)
	values["NewEventLoop"] = loop
	plain, err := net.Listen(network, address)
	mustBeNil(t, err)
	ln, err := netpoll.ConvertListener(plain)
	mustBeNil(t, err)
	values["converted listener "+network] = ln
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = loop.Shutdown(ctx)
		<-served
	}()

	dialed, err := netpoll.DialConnection(network, ln.Addr().String(), 0)
	mustBeNil(t, err)
	defer dialed.Close()
	addConnection(t, values, "dialed "+network, dialed)
	addConnection(t, values, "served "+network, <-conns)
	_, err = dialed.Write([]byte("x"))
	mustBeNil(t, err)
	values["Slice of served "+network] = <-parts

	viaDialer, err := netpoll.NewDialer().DialTimeout(network, ln.Addr().String(), 0)
	mustBeNil(t, err)
	defer viaDialer.Close()
	values["dialed "+network+" by DialTimeout"] = viaDialer
	var typed netpoll.Connection
	if network == "tcp" {
		raddr, e := netpoll.ResolveTCPAddr(network, ln.Addr().String())
		mustBeNil(t, e)
		typed, err = netpoll.DialTCP(context.Background(), network, nil, raddr)
	} else {
		raddr, e := netpoll.ResolveUnixAddr(network, ln.Addr().String())
		mustBeNil(t, e)
		typed, err = netpoll.DialUnix(network, nil, raddr)
	}
	mustBeNil(t, err)
	defer typed.Close()
	values["dialed "+network+" by its type"] = typed
}

// addConnection adds conn with its two views, and what package io makes of them.
func addConnection(t *testing.T, values map[string]any, name string, conn netpoll.Connection) {
	values[name] = conn
	values["Reader of "+name] = conn.Reader()
	values["Writer of "+name] = conn.Writer()
	values["NewIOReader of the Reader of "+name] = netpoll.NewIOReader(conn.Reader())
	values["NewIOWriter of the Writer of "+name] = netpoll.NewIOWriter(conn.Writer())
	values["NewReader of "+name] = netpoll.NewReader(conn)
	values["NewWriter of "+name] = netpoll.NewWriter(conn)
	values["NewReadWriter of "+name] = netpoll.NewReadWriter(conn)
	values["queue on "+name] = mux.NewShardQueue(1, conn)
}

// addAccepted adds a listener and what its Accept returns.
func addAccepted(t *testing.T, values map[string]any, network, address string) {
	ln, err := netpoll.CreateListener(network, address)
	mustBeNil(t, err)
	defer ln.Close()
	values["listener "+network] = ln
	client, err := net.Dial(network, ln.Addr().String())
	mustBeNil(t, err)
	defer client.Close()
	conn, err := ln.Accept()
	for range 1000 { // the original does not wait
		if conn == nil && err == nil {
			conn, err = ln.Accept()
		}
	}
	mustBeNil(t, err)
	defer conn.Close()
	values["accepted "+network] = conn
}

func addDescriptor(t *testing.T, values map[string]any) {
	r, w := netpoll.GetSysFdPairs()
	conn, err := netpoll.NewFDConnection(r)
	mustBeNil(t, err)
	defer conn.Close()
	peer, err := netpoll.NewFDConnection(w)
	mustBeNil(t, err)
	defer peer.Close()
	addConnection(t, values, "connection of a descriptor", conn)
}

func addAddresses(t *testing.T, values map[string]any) {
	tcp, err := netpoll.ResolveTCPAddr("tcp", "127.0.0.1:1")
	mustBeNil(t, err)
	values["ResolveTCPAddr"] = tcp
	unix, err := netpoll.ResolveUnixAddr("unix", "/nowhere")
	mustBeNil(t, err)
	values["ResolveUnixAddr"] = unix
}

func mustBeNil(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
