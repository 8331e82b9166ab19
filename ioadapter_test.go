package netpoll

// This file holds the tests of the adapters between Reader, Writer and package io.

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

var errBoom = errors.New("boom")

// step is what one call of Read or Write does.
type step struct {
	data string // what Read gives
	n    int    // how much Write takes
	err  error
}

// script is a source or a destination that follows its steps, and then says nothing more.
type script struct {
	steps []step
	taken bytes.Buffer
	calls int
}

func (s *script) next() (st step) {
	s.calls++
	if len(s.steps) > 0 {
		st, s.steps = s.steps[0], s.steps[1:]
	}
	return st
}

func (s *script) Read(p []byte) (int, error) {
	st := s.next()
	return copy(p, st.data), st.err
}

func (s *script) Write(p []byte) (int, error) {
	st := s.next()
	if st == (step{}) {
		st.n = len(p)
	}
	s.taken.Write(p[:max(0, min(st.n, len(p)))])
	return st.n, st.err
}

// onlyReader and onlyWriter hide what else a value can do.
type (
	onlyReader struct{ Reader }
	onlyWriter struct{ Writer }
)

// Behaviour 1.6: values from NewReader can be passed to NewIOReader and back.
func TestAdaptersCanBePassedBackAndForth(t *testing.T) {
	src := strings.NewReader("abcdef")
	r := NewReader(src)
	require.Same(t, r, NewReader(NewIOReader(r)))
	w := NewWriter(new(bytes.Buffer))
	require.Same(t, w, NewWriter(NewIOWriter(w)))
	rw := NewReadWriter(new(bytes.Buffer))
	require.Same(t, rw, NewReadWriter(NewIOReadWriter(rw)))

	b := NewLinkBuffer()
	require.Same(t, b, NewReader(NewIOReader(b)))
	require.Same(t, b, NewWriter(NewIOWriter(b)))
	require.Same(t, b, NewReadWriter(NewIOReadWriter(b)))
}

// Behaviour 1.6: bytes that one adapter has buffered are not lost to the next.
func TestNewIOReaderGoesOnWhereNewReaderStopped(t *testing.T) {
	r := NewReader(iotest.OneByteReader(strings.NewReader("abcdef")))
	p, err := r.Peek(3)
	require.NoError(t, err)
	require.Equal(t, "abc", string(p))
	all, err := io.ReadAll(NewIOReader(r))
	require.NoError(t, err)
	require.Equal(t, "abcdef", string(all))
}

func TestNewReaderPassesTheStandardReaderTest(t *testing.T) {
	text := strings.Repeat("0123456789", 5000)
	require.NoError(t, iotest.TestReader(NewIOReader(NewReader(strings.NewReader(text))), []byte(text)))
	b := NewLinkBuffer()
	_, _ = b.WriteString(text)
	require.NoError(t, b.Flush())
	require.NoError(t, iotest.TestReader(NewIOReader(b), []byte(text)))
	require.NoError(t, iotest.TestReader(NewIOReader(onlyReader{NewReader(strings.NewReader(text))}), []byte(text)))
}

// Behaviour 3.1, 2.2: the bytes before the end are read first; then the error Is ErrEOF and ErrConnClosed.
func TestNewReaderReadsUpToTheEnd(t *testing.T) {
	for _, tc := range readings {
		t.Run(tc.name, func(t *testing.T) {
			r := NewReader(iotest.DataErrReader(iotest.OneByteReader(strings.NewReader("abcde"))))
			_, err := tc.read(r, 6)
			require.ErrorIs(t, err, ErrConnClosed)
			require.ErrorIs(t, err, ErrEOF)
			require.Equal(t, 5, r.Len())
			s, err := tc.read(r, 5)
			require.NoError(t, err)
			if tc.name != "Skip" {
				require.Equal(t, "abcde", s)
			}
			require.NoError(t, r.Release())
		})
	}
	r := NewReader(strings.NewReader("ab"))
	c, err := r.ReadByte()
	require.NoError(t, err)
	require.Equal(t, byte('a'), c)
	require.NoError(t, r.Skip(1))
	_, err = r.ReadByte()
	require.ErrorIs(t, err, ErrEOF)
}

// Behaviour 3.5: Until returns and consumes the rest with the error.
func TestNewReaderUntilReturnsTheRestAtTheEnd(t *testing.T) {
	r := NewReader(iotest.OneByteReader(strings.NewReader("ab\ncd")))
	line, err := r.Until('\n')
	require.NoError(t, err)
	require.Equal(t, "ab\n", string(line))
	line, err = r.Until('\n')
	require.ErrorIs(t, err, ErrEOF)
	require.Equal(t, "cd", string(line))
	require.Equal(t, 0, r.Len())
}

// Behaviour 9.2: each error of the source is returned once, to the first call that needs more than the bytes before it;
// the next call asks again, as with package bufio.
func TestNewReaderTellsEachErrorOnce(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []step
		want  error
	}{
		{"the end with data", []step{{data: "abc", err: io.EOF}, {data: "def"}}, ErrEOF},
		{"the end after data", []step{{data: "abc"}, {err: io.EOF}, {data: "def"}}, ErrEOF},
		{"the end in the midst of it", []step{{data: "ab"}, {data: "c", err: io.EOF}, {data: "def"}}, ErrEOF},
		{"an error with data", []step{{data: "abc", err: errBoom}, {data: "def"}}, errBoom},
		{"an error after data", []step{{data: "abc"}, {err: errBoom}, {data: "def"}}, errBoom},
		{"a timeout", []step{{data: "abc", err: os.ErrDeadlineExceeded}, {data: "def"}}, os.ErrDeadlineExceeded},
		{"nothing for a while", []step{{}, {}, {data: "abc"}, {}, {err: errBoom}, {}, {data: "def"}}, errBoom},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := &script{steps: tc.steps}
			r := NewReader(src)
			p, err := r.Next(2)
			require.NoError(t, err)
			require.Equal(t, "ab", string(p))
			_, err = r.Next(2)
			require.ErrorIs(t, err, tc.want)
			require.Equal(t, 1, r.Len())
			require.NotEmpty(t, src.steps, "the source must not be asked beyond its error")
			p, err = r.Next(2)
			require.NoError(t, err)
			require.Equal(t, "cd", string(p))
		})
	}
	r := NewReader(&script{steps: []step{{data: "abc"}}})
	for range 2 {
		_, err := r.Next(4)
		require.ErrorIs(t, err, io.ErrNoProgress, "nothing for ever")
		require.Equal(t, 3, r.Len())
	}
}

// Behaviour 9.2: a source that has ended is asked again by every method, as bytes.Buffer and files that grow expect.
func TestReaderAsksAgainAfterTheEnd(t *testing.T) {
	methods := map[string]func(r Reader) (string, error){
		"Until":    func(r Reader) (string, error) { p, err := r.Until('c'); return string(p), err },
		"ReadByte": func(r Reader) (string, error) { c, err := r.ReadByte(); return string(c), err },
		"Read of an adapter": func(r Reader) (string, error) {
			p := make([]byte, 3)
			n, err := NewIOReader(r).Read(p)
			return string(p[:n]), asToldByReader(err)
		},
		"large Read of an adapter": func(r Reader) (string, error) {
			p := make([]byte, 2*streamChunk)
			n, err := NewIOReader(r).Read(p)
			return string(p[:n]), asToldByReader(err)
		},
		"Read of an adapter of another's": func(r Reader) (string, error) {
			p := make([]byte, 3)
			n, err := NewIOReader(onlyReader{r}).Read(p)
			return string(p[:n]), asToldByReader(err)
		},
	}
	for _, tc := range readings {
		methods[tc.name] = func(r Reader) (string, error) { return tc.read(r, 3) }
	}
	for name, read := range methods {
		t.Run(name, func(t *testing.T) {
			rw := NewReadWriter(new(bytes.Buffer))
			for range 3 {
				for range 2 {
					_, err := read(rw)
					require.ErrorIs(t, err, ErrEOF)
					require.ErrorIs(t, err, ErrConnClosed)
				}
				_, err := rw.WriteString("abc")
				require.NoError(t, err)
				require.NoError(t, rw.Flush())
				s, err := read(rw)
				require.NoError(t, err)
				if name == "Skip" {
					s = "abc" // it shows nothing
				}
				require.Contains(t, []string{"abc", "a"}, s)
				require.NoError(t, rw.Skip(rw.Len()))
				require.NoError(t, rw.Release())
			}
		})
	}
}

// asToldByReader turns exactly io.EOF, which is what Read has to return, into what methods of Reader return.
func asToldByReader(err error) error {
	if err == io.EOF {
		return Exception(ErrEOF, "")
	}
	return err
}

// An adapter that is asked for much reads straight into the caller's memory.
func TestLargeReadOfAnAdapterIsNotBuffered(t *testing.T) {
	large := make([]byte, streamChunk)
	straight := false
	r := NewReader(readerFunc(func(p []byte) (int, error) {
		straight = &p[0] == &large[0]
		return copy(p, "hello"), io.EOF
	}))
	n, err := NewIOReader(r).Read(large)
	require.NoError(t, err)
	require.Equal(t, "hello", string(large[:n]))
	require.True(t, straight)
	_, err = NewIOReader(r).Read(large)
	require.Equal(t, io.EOF, err, "the end that came with bytes")
}

// lying is a source and a destination that breaks the rules of package io.
type lying int

func (n lying) Read([]byte) (int, error)  { return int(n), nil }
func (n lying) Write([]byte) (int, error) { return int(n), nil }

func TestImpossibleCountsAreErrors(t *testing.T) {
	for _, n := range []lying{-1, 1 << 20} {
		_, err := NewReader(n).Next(1)
		require.ErrorContains(t, err, "returned")
		w := NewWriter(n)
		_, _ = w.WriteString("abc")
		require.ErrorContains(t, w.Flush(), "returned")
	}
}

func TestNewWriterSendsAtFlush(t *testing.T) {
	dst := new(script)
	w := NewWriter(dst)
	p, err := w.Malloc(3)
	require.NoError(t, err)
	copy(p, "abX")
	require.NoError(t, w.WriteDirect([]byte("--"), 1))
	require.Equal(t, 5, w.MallocLen())
	require.NoError(t, w.MallocAck(4))
	_, _ = w.WriteString("cd")
	_, _ = w.WriteBinary([]byte("ef"))
	require.NoError(t, w.WriteByte('g'))
	src := NewLinkBuffer()
	_, _ = src.WriteString("hi")
	require.NoError(t, w.Append(src))
	require.Zero(t, dst.calls)
	require.NoError(t, w.Flush())
	require.Equal(t, "ab--cdefghi", dst.taken.String())
	require.Equal(t, 1, dst.calls, "small pieces go together")
	require.NoError(t, w.Flush())
	require.Equal(t, 1, dst.calls, "nothing to send")

	large := strings.Repeat("x", 100_000)
	_, _ = w.WriteString(large)
	_, _ = w.WriteString("end")
	require.NoError(t, w.Flush())
	require.Equal(t, "ab--cdefghi"+large+"end", dst.taken.String())
}

func TestNewWriterKeepsWhatWasNotSent(t *testing.T) {
	for _, tc := range []struct {
		name string
		step step
		want error
	}{
		{"a short write", step{n: 2}, io.ErrShortWrite},
		{"an error after some", step{n: 2, err: errBoom}, errBoom},
		{"an error after none", step{err: errBoom}, errBoom},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dst := &script{steps: []step{tc.step}}
			w := NewWriter(dst)
			_, _ = w.WriteString("abcdef")
			require.ErrorIs(t, w.Flush(), tc.want)
			require.Equal(t, tc.step.n, dst.taken.Len())
			_, _ = w.WriteString("ghi")
			require.NoError(t, w.Flush())
			require.Equal(t, "abcdefghi", dst.taken.String())
		})
	}
}

// Behaviour 4.6: appending a writer to itself is an error, behind a wrapper too.
func TestAppendingAWriterToItselfIsAnError(t *testing.T) {
	w := NewWriter(new(bytes.Buffer))
	_, _ = w.WriteString("abc")
	require.ErrorIs(t, w.Append(w), ErrBufferMisuse)
	rw := NewReadWriter(new(bytes.Buffer))
	_, _ = rw.WriteString("abc")
	require.ErrorIs(t, rw.Append(rw), ErrBufferMisuse)
	require.NoError(t, w.Append(rw))
	require.Equal(t, 6, w.MallocLen())
	require.ErrorIs(t, w.Append(onlyWriter{rw}), ErrUnsupported)
}

func TestIOWriterFlushesEachWrite(t *testing.T) {
	for name, hide := range map[string]func(Writer) Writer{
		"of this package": func(w Writer) Writer { return w },
		"of another":      func(w Writer) Writer { return onlyWriter{w} },
	} {
		dst := &script{steps: []step{{n: 3}, {err: errBoom}}}
		w := NewIOWriter(hide(NewWriter(dst)))
		n, err := w.Write([]byte("abc"))
		require.NoError(t, err, name)
		require.Equal(t, 3, n, name)
		n, err = w.Write([]byte("def"))
		require.ErrorIs(t, err, errBoom, name)
		require.Zero(t, n, name)
		n, err = w.Write(nil)
		require.NoError(t, err, name)
		require.Zero(t, n, name)
	}
	for name, w := range map[string]func(io.ReadWriter) io.Writer{
		"NewIOWriter":     func(rw io.ReadWriter) io.Writer { return NewIOWriter(NewWriter(rw)) },
		"NewIOReadWriter": func(rw io.ReadWriter) io.Writer { return NewIOReadWriter(NewReadWriter(rw)) },
	} {
		var dst bytes.Buffer
		_, err := io.WriteString(w(&dst), "abc")
		require.NoError(t, err, name)
		require.Equal(t, "abc", dst.String(), name)
	}
	b := NewLinkBuffer()
	_, err := NewIOWriter(b).Write([]byte("abc"))
	require.NoError(t, err)
	require.Equal(t, 3, b.Len())
}

func TestReadWriterUsesBothSides(t *testing.T) {
	var pipe bytes.Buffer
	rw := NewReadWriter(&pipe)
	_, err := rw.WriteString("abc")
	require.NoError(t, err)
	require.NoError(t, rw.Flush())
	s, err := rw.ReadString(3)
	require.NoError(t, err)
	require.Equal(t, "abc", s)
	both := NewIOReadWriter(rw)
	_, err = both.Write([]byte("def"))
	require.NoError(t, err)
	p := make([]byte, 9)
	n, err := both.Read(p)
	require.NoError(t, err)
	require.Equal(t, "def", string(p[:n]))
}

// A source that had nothing for a while may have something later, as for package bufio.
func TestReaderAsksAgainAfterNoProgress(t *testing.T) {
	nothing := 150
	r := NewReader(readerFunc(func(p []byte) (int, error) {
		if nothing > 0 {
			nothing--
			return 0, nil
		}
		return copy(p, "hello"), nil
	}))
	_, err := r.Peek(1)
	require.ErrorIs(t, err, io.ErrNoProgress)
	p, err := r.Peek(5)
	require.NoError(t, err)
	require.Equal(t, "hello", string(p))
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
