package netpoll

// This file fuzzes a LinkBuffer that two goroutines use, a producer and a consumer, each with a program of its own. The
// model is the sequence of bytes: whatever the two do, and however it is interleaved, the consumer gets the next ones.

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// FuzzLinkBufferOfTwoGoroutines runs two programs at the same time on the two sides of one buffer.
func FuzzLinkBufferOfTwoGoroutines(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomProgram(seed, 300), randomProgram(seed+100, 300), seed%2 == 0)
	}
	f.Fuzz(runTwoPrograms)
}

// TestLinkBufferOfTwoGoroutinesAgreesWithModel runs programs that are long enough for many interleavings.
func TestLinkBufferOfTwoGoroutinesAgreesWithModel(t *testing.T) {
	for seed := range uint64(8) {
		runTwoPrograms(t, randomProgram(seed, 1500), randomProgram(seed+1000, 1500), seed%2 == 0)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func runTwoPrograms(t *testing.T, producer, consumer []byte, warm bool) {
	SetMemoryDebug(func(err error) { t.Errorf("%v", err) })
	defer SetMemoryDebug(nil)
	before := blocksOut.Load()
	buf := &LinkBuffer{warm: warm}
	p := &duplexSide{t: t, buf: buf, program: producer, other: make(chan struct{}, 1)}
	c := &duplexSide{t: t, buf: buf, program: consumer, other: p.other}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.produce()
	}()
	c.consume(done)
	<-done
	c.rest(p.pos)
	c.slices.Wait()
	_ = buf.Close()
	if left := blocksOut.Load() - before; left != 0 {
		t.Errorf("%d blocks are still in use", left)
	}
}

// duplexSide is one of the two goroutines.
type duplexSide struct {
	t       *testing.T
	buf     *LinkBuffer
	program []byte
	pos     int64         // bytes produced, or consumed
	other   chan struct{} // the producer sends on it when it has published
	shown   []promise
	slices  sync.WaitGroup
	failed  bool
}

func (s *duplexSide) fail(format string, args ...any) {
	s.t.Errorf(format, args...)
	s.failed = true
}

func (s *duplexSide) arg() int {
	if len(s.program) == 0 {
		return 0
	}
	b := s.program[0]
	s.program = s.program[1:]
	return int(b)
}

func (s *duplexSide) size() int {
	v := machine{program: []byte{byte(s.arg())}}
	return v.size()
}

// produce runs the producer's program and flushes at its end.
func (s *duplexSide) produce() {
	for len(s.program) > 0 && !s.failed && s.pos < 1<<20 {
		duplexWrites[s.arg()%len(duplexWrites)](s)
	}
	_ = s.buf.Flush()
	signal(s.other)
}

// next returns the next n bytes and counts them as written.
func (s *duplexSide) next(n int) []byte {
	p := testkit.Stream{}.Piece(s.pos, n)
	s.pos += int64(n)
	return p
}

func (s *duplexSide) no(what string, err error) {
	if err != nil {
		s.fail("%s: %v", what, err)
	}
}

var duplexWrites = []func(*duplexSide){
	func(s *duplexSide) {
		n := s.size()
		p, err := s.buf.Malloc(n)
		s.no("Malloc", err)
		copy(p, s.next(n))
	},
	func(s *duplexSide) {
		n, more := s.size(), s.size()
		p, err := s.buf.Malloc(n + more)
		s.no("Malloc", err)
		copy(p, s.next(n))
		s.no("MallocAck", s.buf.MallocAck(s.buf.MallocLen()-more))
	},
	func(s *duplexSide) {
		_, err := s.buf.WriteBinary(s.next(s.size()))
		s.no("WriteBinary", err)
	},
	func(s *duplexSide) {
		_, err := s.buf.WriteString(string(s.next(s.size())))
		s.no("WriteString", err)
	},
	func(s *duplexSide) { s.no("WriteByte", s.buf.WriteByte(s.next(1)[0])) },
	func(s *duplexSide) {
		n, middle, rest := s.size(), s.size(), s.size()
		all := s.next(n + middle + rest)
		p, err := s.buf.Malloc(n + rest)
		s.no("Malloc", err)
		copy(p, all[:n])
		if n+rest > 0 {
			copy(p[n:], all[n+middle:])
		}
		s.no("WriteDirect", s.buf.WriteDirect(all[n:n+middle], rest))
	},
	func(s *duplexSide) {
		src := NewLinkBuffer(s.size())
		_, _ = src.WriteBinary(s.next(s.size()))
		if s.arg()%2 == 0 {
			_ = src.Flush()
		}
		_, _ = src.WriteString(string(s.next(s.size())))
		s.no("Append", s.buf.Append(src))
		_ = src.Close()
	},
	func(s *duplexSide) {
		_, err := s.buf.Malloc(1 + s.size())
		s.no("Malloc", err)
		_ = s.buf.MallocAck(0) // all that was not published is taken back
		s.pos = int64(s.buf.received())
	},
	func(s *duplexSide) { _ = s.buf.Flush(); signal(s.other) },
	func(s *duplexSide) { _ = s.buf.Flush(); signal(s.other) },
	func(s *duplexSide) {
		_ = s.buf.Flush()
		p := s.buf.book(s.size())
		n := s.size() % (len(p) + 1)
		copy(p, s.next(n))
		s.buf.bookAck(n)
		signal(s.other)
	},
}

// consume runs the consumer's program. Where there is nothing to read it waits for the producer.
func (s *duplexSide) consume(done <-chan struct{}) {
	for len(s.program) > 0 && !s.failed {
		if s.buf.IsEmpty() {
			select {
			case <-s.other:
			case <-done:
			}
		}
		duplexReads[s.arg()%len(duplexReads)](s)
		if s.buf.IsEmpty() {
			select {
			case <-done:
				return
			default:
			}
		}
	}
}

// rest reads the bytes that the consumer's program has left, up to end, and gives everything back.
func (s *duplexSide) rest(end int64) {
	if s.failed {
		return
	}
	p, err := s.buf.Next(s.buf.Len())
	s.got("Next", p, err)
	s.release()
	if s.pos != end {
		s.fail("%d bytes were consumed, %d produced", s.pos, end)
	}
}

// want is how much to read, and whether that must be there.
func (s *duplexSide) want() (n int, there bool) {
	n = s.size()
	have := s.buf.Len()
	if have > 0 && n > have && n%4 != 0 {
		n = 1 + n%have
	}
	return n, n <= have
}

// fits reports whether a call that wanted n bytes got them, which may be there or not if it was not certain before.
func (s *duplexSide) fits(what string, n int, there bool, err error) bool {
	if err != nil && (there || !errors.Is(err, ErrNotEnoughData)) {
		s.fail("%s(%d): %v", what, n, err)
	}
	return err == nil
}

func (s *duplexSide) check(what string, p []byte) {
	if at := (testkit.Stream{}).Differs(s.pos, p); at >= 0 {
		s.fail("%s: differs at %d", what, at)
	}
}

func (s *duplexSide) got(what string, p []byte, err error) {
	s.no(what, err)
	s.check(what, p)
	s.pos += int64(len(p))
}

func (s *duplexSide) show(p []byte) {
	if len(s.shown) < 8 {
		s.shown = append(s.shown, promise{p, bytes.Clone(p)})
	}
}

func (s *duplexSide) release() {
	checkPromises(s.t, s.shown)
	s.shown = nil
	_ = s.buf.Release()
}

var duplexReads = []func(*duplexSide){
	func(s *duplexSide) {
		n, there := s.want()
		p, err := s.buf.Next(n)
		if s.fits("Next", n, there, err) {
			s.got("Next", p, err)
			s.show(p)
		}
	},
	func(s *duplexSide) {
		n, there := s.want()
		p, err := s.buf.Peek(n)
		if s.fits("Peek", n, there, err) {
			s.check("Peek", p)
			s.show(p)
		}
	},
	func(s *duplexSide) {
		n, there := s.want()
		if s.fits("Skip", n, there, s.buf.Skip(n)) {
			s.pos += int64(n)
		}
	},
	func(s *duplexSide) {
		n, there := s.want()
		p, err := s.buf.ReadBinary(n)
		if s.fits("ReadBinary", n, there, err) {
			s.got("ReadBinary", p, err)
		}
	},
	func(s *duplexSide) {
		n, there := s.want()
		p, err := s.buf.ReadString(n)
		if s.fits("ReadString", n, there, err) {
			s.got("ReadString", []byte(p), err)
		}
	},
	func(s *duplexSide) {
		there := s.buf.Len() > 0
		c, err := s.buf.ReadByte()
		if s.fits("ReadByte", 1, there, err) {
			s.got("ReadByte", []byte{c}, err)
		}
	},
	func(s *duplexSide) {
		delim := byte(s.arg())
		line, err := s.buf.Until(delim)
		i := bytes.IndexByte(line, delim)
		if err == nil && i != len(line)-1 || err != nil && (i >= 0 || !errors.Is(err, ErrNotEnoughData)) {
			s.fail("Until(%d) returned %d bytes with the delimiter at %d, %v", delim, len(line), i, err)
		}
		s.got("Until", line, nil)
		s.show(line)
	},
	func(s *duplexSide) {
		n, there := s.want()
		part, err := s.buf.Slice(n)
		if !s.fits("Slice", n, there, err) {
			return
		}
		at := s.pos
		s.pos += int64(n)
		s.shown = nil
		s.slices.Go(func() {
			p, err := part.Next(n)
			if at := (testkit.Stream{}).Differs(at, p); err != nil || at >= 0 || len(p) != n {
				s.t.Errorf("a slice of %d bytes differs at %d, %v", n, at, err)
			}
			_ = part.Release()
		})
	},
	func(s *duplexSide) { s.release() },
	func(s *duplexSide) { s.release() },
	func(s *duplexSide) {
		var vec [4][]byte
		all := bytes.Join(s.buf.GetBytes(vec[:s.arg()%5]), nil)
		s.check("GetBytes", all)
	},
	func(s *duplexSide) { s.check("Bytes", s.buf.Bytes()) },
	func(s *duplexSide) {
		p := make([]byte, s.size())
		n := s.buf.readCopy(p)
		s.got("Read", p[:n], nil)
		if n > 0 {
			s.shown = nil
		}
	},
	func(s *duplexSide) {
		c, skip := byte(s.arg()), s.size()
		if i := s.buf.indexByte(c, skip); i >= 0 && (i < skip || (testkit.Stream{}).Piece(s.pos+int64(i), 1)[0] != c) {
			s.fail("indexByte(%d, %d) is %d", c, skip, i)
		}
	},
}
