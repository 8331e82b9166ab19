package netpoll

// This file fuzzes the adapters between Reader, Writer and package io: a random program on one side, and on the other a
// source and a destination that do whatever the rules of io.Reader and io.Writer allow, and some things they do not.

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// FuzzAdapters runs a program on a ReadWriter over such a stream.
func FuzzAdapters(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomProgram(seed, 300), randomProgram(seed+100, 300))
	}
	f.Fuzz(runAdapters)
}

// TestAdaptersAgreeWithModel runs long programs.
func TestAdaptersAgreeWithModel(t *testing.T) {
	for seed := range uint64(8) {
		runAdapters(t, randomProgram(seed, 1500), randomProgram(seed+1000, 1500))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

var errFuzzed = errors.New("fuzzed")

// errImpossible stands for the error of an impossible count, whose text is not known.
var errImpossible = errors.New("impossible")

// fuzzedStream is the other side. Its next step is the next byte of its program; after the last it ends.
type fuzzedStream struct {
	machine
	given  int64  // bytes given to the reader
	reads  int    // calls of Read
	n      int    // the result of the last of them
	err    error  // the error that came with it
	taken  []byte // bytes taken from the writer
	writes int
}

// Read implements io.Reader, sometimes badly. Its end need not be the last word.
func (s *fuzzedStream) Read(p []byte) (n int, err error) {
	s.reads++
	n, s.err = s.read(p)
	s.n = n
	if s.err == errImpossible {
		s.n = 0
		return n, nil
	}
	s.given += int64(n)
	return n, s.err
}

func (s *fuzzedStream) read(p []byte) (n int, err error) {
	if len(s.program) == 0 {
		return 0, io.EOF
	}
	switch kind := s.arg(); {
	case kind < 10:
		return 0, nil
	case kind < 14:
		err = os.ErrDeadlineExceeded
	case kind < 15:
		err = errFuzzed
	case kind < 16:
		err = io.EOF
	case kind < 17:
		return len(p) + 1, errImpossible
	case kind < 18:
		return -1, errImpossible
	case kind < 22:
		return 0, io.EOF
	}
	n = min(s.size(), len(p))
	copy(p, testkit.Stream{}.Piece(s.given, n))
	return n, err
}

// Write implements io.Writer, sometimes badly.
func (s *fuzzedStream) Write(p []byte) (n int, err error) {
	s.writes++
	if len(s.program) == 0 {
		s.taken = append(s.taken, p...)
		return len(p), nil
	}
	switch kind := s.arg(); {
	case kind < 8:
		return len(p) + 1, nil
	case kind < 16:
		return -1, errFuzzed
	case kind < 32:
		err = errFuzzed
		fallthrough
	case kind < 48:
		n = min(s.size(), len(p))
	default:
		n = len(p)
	}
	s.taken = append(s.taken, p[:n]...)
	return n, err
}

// adapterRun is a program on an adapter with the model: positions in the two sequences of bytes.
type adapterRun struct {
	machine
	stream *fuzzedStream
	rw     ReadWriter
	plain  io.Reader // rw as code that knows only io sees it: a Reader without Read
	pos    int64     // bytes consumed
	unsaid error     // an error of the source that came with bytes, and that no call has returned yet
	shown  []promise
	queued []byte // the bytes written
}

func runAdapters(t *testing.T, user, other []byte) {
	SetMemoryDebug(func(err error) { t.Errorf("%v", err) })
	defer SetMemoryDebug(nil)
	before := blocksOut.Load()
	s := &fuzzedStream{machine: machine{t: t, program: other}}
	v := &adapterRun{machine: machine{t: t, program: user}, stream: s, rw: NewReadWriter(s)}
	v.plain = NewIOReader(struct{ Reader }{v.rw})
	if NewReadWriter(NewIOReadWriter(v.rw)) != v.rw || NewReader(NewIOReader(v.rw)) != Reader(v.rw) {
		t.Fatal("there and back is another")
	}
	for len(v.program) > 0 && !t.Failed() {
		adapterOps[v.arg()%len(adapterOps)](v)
		if got, want := v.rw.Len(), int(s.given-v.pos); got != want {
			t.Fatalf("Len is %d; the source has given %d bytes, %d were read", got, s.given, v.pos)
		}
	}
	s.program = nil // from here on the stream is well-behaved
	if err := v.rw.Flush(); err != nil || !bytes.Equal(s.taken, v.queued) {
		t.Fatalf("%d bytes were written of %d, %v", len(s.taken), len(v.queued), err)
	}
	v.take(v.rw.Len())
	v.release()
	if left := blocksOut.Load() - before; left != 0 {
		t.Fatalf("%d blocks are still in use", left)
	}
}

// reading makes a call that needs n bytes and reports whether it got them.
func (v *adapterRun) reading(n int, call func() error) bool {
	there, reads := v.rw.Len(), v.stream.reads
	err := call()
	asked := v.stream.reads != reads
	switch {
	case n <= there && err != nil:
		v.t.Fatalf("%d of %d buffered bytes were wanted: %v", n, there, err)
	case n <= there && asked:
		v.t.Fatalf("%d of %d buffered bytes were wanted, and the source was read", n, there)
	}
	v.told(err, asked)
	return err == nil
}

// told checks that a call returned the error that was its to return, if any. Each error of the source is returned once,
// to the first call that needs more than the bytes before it. After that the source is asked again, whatever the error
// was.
func (v *adapterRun) told(err error, asked bool) {
	want := v.unsaid
	if asked {
		if v.unsaid != nil {
			v.t.Fatalf("the source was asked again before anybody was told of %v", v.unsaid)
		}
		want = v.stream.err
		if want == nil {
			want = io.ErrNoProgress
		}
	}
	switch {
	case err == nil && asked && v.stream.n == 0:
		v.t.Fatalf("a call had enough without what the source gave last, %v", want)
	case err == nil && asked:
		v.unsaid = v.stream.err
	case err == nil:
	case want == nil:
		v.t.Fatalf("an error that the source has not given: %v", err)
	case !isTelling(err, want):
		v.t.Fatalf("%v, but the source has given %v", err, want)
	default:
		v.unsaid = nil
	}
}

// isTelling reports whether err is the error of a call that had to return want.
func isTelling(err, want error) bool {
	switch want {
	case io.EOF:
		return errors.Is(err, ErrEOF) && errors.Is(err, ErrConnClosed) && !errors.Is(err, io.EOF)
	case errImpossible:
		return strings.Contains(err.Error(), "returned")
	}
	return errors.Is(err, want)
}

// got checks bytes that were consumed.
func (v *adapterRun) got(p []byte) {
	v.same(p)
	v.pos += int64(len(p))
}

func (v *adapterRun) same(p []byte) {
	if at := (testkit.Stream{}).Differs(v.pos, p); at >= 0 {
		v.t.Fatalf("input differs at %d", at)
	}
}

func (v *adapterRun) take(n int) {
	var p []byte
	if v.reading(n, func() (err error) { p, err = v.rw.Next(n); return err }) {
		v.got(p)
		v.shown = append(v.shown, promise{p, bytes.Clone(p)})
	}
}

func (v *adapterRun) release() {
	checkPromises(v.t, v.shown)
	v.shown = nil
	if err := v.rw.Release(); err != nil {
		v.t.Fatalf("Release: %v", err)
	}
}

// want is how much to read: mostly what is there.
func (v *adapterRun) want() int {
	n := v.size()
	if have := v.rw.Len(); n > have && have > 0 && n%4 != 0 {
		n = 1 + n%have
	}
	return n
}

// readAs reads as an io.Reader.
func (v *adapterRun) readAs(r io.Reader) {
	v.shown = nil // Read may release
	p := make([]byte, 1+v.size())
	n := 0
	if v.reading(1, func() (err error) {
		n, err = r.Read(p)
		if errors.Is(err, ErrEOF) || err != io.EOF && errors.Is(err, io.EOF) {
			v.t.Fatalf("Read returned %v at the end", err)
		}
		if err == io.EOF {
			err = Exception(ErrEOF, "") // the error of methods of Reader
		}
		return err
	}) {
		if n == 0 {
			v.t.Fatal("Read returned 0, nil")
		}
		v.got(p[:n])
	}
}

func (v *adapterRun) wrote(p []byte, err error) {
	if err != nil {
		v.t.Fatalf("writing: %v", err)
	}
	v.queued = append(v.queued, p...)
}

func (v *adapterRun) flushed(err error) {
	switch {
	case err == nil && !bytes.Equal(v.stream.taken, v.queued):
		v.t.Fatalf("flushed, and %d bytes have arrived of %d", len(v.stream.taken), len(v.queued))
	case !bytes.HasPrefix(v.queued, v.stream.taken):
		v.t.Fatal("what has arrived is not what was written")
	}
}

var adapterOps = []func(*adapterRun){
	func(v *adapterRun) { v.take(v.want()) },
	func(v *adapterRun) {
		n := v.want()
		var p []byte
		if v.reading(n, func() (err error) { p, err = v.rw.Peek(n); return err }) {
			v.same(p)
			v.shown = append(v.shown, promise{p, bytes.Clone(p)})
		}
	},
	func(v *adapterRun) {
		n := v.want()
		if v.reading(n, func() error { return v.rw.Skip(n) }) {
			v.pos += int64(n)
		}
	},
	func(v *adapterRun) {
		n := v.want()
		var p []byte
		if v.reading(n, func() (err error) { p, err = v.rw.ReadBinary(n); return err }) {
			v.got(p)
		}
	},
	func(v *adapterRun) {
		n := v.want()
		var p string
		if v.reading(n, func() (err error) { p, err = v.rw.ReadString(n); return err }) {
			v.got([]byte(p))
		}
	},
	func(v *adapterRun) {
		var c byte
		if v.reading(1, func() (err error) { c, err = v.rw.ReadByte(); return err }) {
			v.got([]byte{c})
		}
	},
	func(v *adapterRun) {
		n := v.want()
		var part Reader
		if v.reading(n, func() (err error) { part, err = v.rw.Slice(n); return err }) {
			p, err := part.Next(n)
			if err != nil || len(p) != n {
				v.t.Fatalf("Next(%d) of a Slice: %d bytes, %v", n, len(p), err)
			}
			v.got(p)
			v.shown = nil
			_ = part.Release()
		}
	},
	func(v *adapterRun) {
		delim := byte(v.arg())
		have, reads := v.rw.Len(), v.stream.reads
		p, err := v.rw.Until(delim)
		v.told(err, v.stream.reads != reads)
		if i := bytes.IndexByte(p, delim); err == nil && i != len(p)-1 || err != nil && (i >= 0 || len(p) < have) {
			v.t.Fatalf("Until(%d): %d bytes with the delimiter at %d, %v", delim, len(p), i, err)
		}
		v.got(p)
	},
	func(v *adapterRun) { v.release() },
	func(v *adapterRun) { v.readAs(v.plain) },
	func(v *adapterRun) { v.readAs(NewIOReader(v.rw)) },
	func(v *adapterRun) {
		p := v.bytes(v.size())
		_, err := v.rw.WriteBinary(p)
		v.wrote(p, err)
	},
	func(v *adapterRun) {
		p := v.bytes(v.size())
		_, err := v.rw.WriteString(string(p))
		v.wrote(p, err)
	},
	func(v *adapterRun) {
		p, more := v.bytes(v.size()), v.size()
		q, err := v.rw.Malloc(len(p) + more)
		copy(q, p)
		v.wrote(p, errors.Join(err, v.rw.MallocAck(v.rw.MallocLen()-more)))
	},
	func(v *adapterRun) {
		p := v.bytes(v.size() + v.size())
		k := v.size() % (len(p) + 1)
		q, err := v.rw.Malloc(k)
		copy(q, p[len(p)-k:])
		v.wrote(p, errors.Join(err, v.rw.WriteDirect(p[:len(p)-k], k)))
	},
	func(v *adapterRun) {
		p := v.bytes(v.size())
		src := NewLinkBuffer()
		_, _ = src.WriteBinary(p)
		if v.arg()%2 == 0 {
			_ = src.Flush()
		}
		v.wrote(p, v.rw.Append(src))
		_ = src.Close()
	},
	func(v *adapterRun) { v.flushed(v.rw.Flush()) },
	func(v *adapterRun) {
		p := v.bytes(v.size())
		n, err := NewIOWriter(v.rw).Write(p)
		if n < 0 || n > len(p) || n < len(p) && err == nil {
			v.t.Fatalf("Write of %d bytes returned %d, %v", len(p), n, err)
		}
		v.queued = append(v.queued, p[:n]...)
		v.flushed(err)
	},
}
