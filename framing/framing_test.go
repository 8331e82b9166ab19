package framing_test

// What each format does, case by case; errors of settings; allocations.

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
)

// holding returns a buffer with the text.
func holding(t testing.TB, text string) *netpoll.LinkBuffer {
	t.Helper()
	b := netpoll.NewLinkBuffer()
	t.Cleanup(func() { _ = b.Close() })
	_, err := b.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, b.Flush())
	return b
}

// netty's documentation of LengthFieldBasedFrameDecoder has these layouts.
func TestLengthFieldHasTheUsualLayouts(t *testing.T) {
	for _, test := range []struct {
		name   string
		format framing.LengthField
		in     string
		frames []string
	}{
		{"two bytes, without the header", framing.LengthField{Size: 2}, "\x00\x03abc\x00\x00\x00\x01d", []string{"abc", "", "d"}},
		{"with the header", framing.LengthField{Size: 2, KeepHeader: true}, "\x00\x03abc\x00\x00", []string{"\x00\x03abc", "\x00\x00"}},
		{"the length counts itself", framing.LengthField{Size: 2, Adjustment: -2}, "\x00\x05abc\x00\x02", []string{"abc", ""}},
		{"behind a magic number", framing.LengthField{Offset: 2, Size: 3, KeepHeader: true}, "\xca\xfe\x00\x00\x02ab", []string{"\xca\xfe\x00\x00\x02ab"}},
		{"more header behind it", framing.LengthField{Size: 3, Adjustment: 2}, "\x00\x00\x01HHa", []string{"HHa"}},
		{"between headers, counting all", framing.LengthField{Offset: 1, Size: 2, Adjustment: -3}, "m\x00\x06xyz", []string{"xyz"}},
		{"little-endian", framing.LengthField{Size: 4, LittleEndian: true}, "\x02\x00\x00\x00ab", []string{"ab"}},
		{"one byte", framing.LengthField{Size: 1}, "\x01a\x02bc", []string{"a", "bc"}},
		{"eight bytes", framing.LengthField{Size: 8}, "\x00\x00\x00\x00\x00\x00\x00\x01a", []string{"a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := holding(t, test.in)
			for _, want := range test.frames {
				frame, ok, err := framing.TryNext(b, test.format)
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, want, string(frame))
			}
			_, ok, err := framing.TryNext(b, test.format)
			require.NoError(t, err)
			require.False(t, ok)
			require.True(t, b.IsEmpty())
		})
	}
}

func TestIncompleteFrameIsLeftWhereItIs(t *testing.T) {
	for _, test := range []struct {
		frame string
		try   func(r netpoll.Reader) (frame []byte, ok bool, err error)
	}{
		{"hh\x00\x03abc", tryNext(framing.LengthField{Offset: 2, Size: 2})},
		{"\x83\x00abc", tryNext(framing.Varint{})},
		{"abcEND", tryNext(framing.Delimiter{Delim: "END"})},
		{"abc\r\n", tryNext(framing.Line{})},
	} {
		for n := range len(test.frame) + 1 {
			b := holding(t, test.frame[:n])
			frame, ok, err := test.try(b)
			require.NoError(t, err)
			if complete := n == len(test.frame); complete {
				require.True(t, ok)
				require.Equal(t, "abc", string(frame))
			} else {
				require.False(t, ok, "%q", test.frame[:n])
				require.Equal(t, test.frame[:n], string(b.Bytes()))
			}
		}
	}
}

func tryNext[F framing.Format](f F) func(r netpoll.Reader) ([]byte, bool, error) {
	return func(r netpoll.Reader) ([]byte, bool, error) { return framing.TryNext(r, f) }
}

func TestLengthThatIsKnownAtTheEndIsPutInPlace(t *testing.T) {
	format := framing.LengthField{Offset: 1, Size: 3}
	b := netpoll.NewLinkBuffer()
	defer b.Close()
	header, err := b.Malloc(4)
	require.NoError(t, err)
	header[0] = 'm'
	_, err = b.WriteString("abc")
	require.NoError(t, err)
	require.NoError(t, format.PutLength(header, 3))
	require.NoError(t, b.Flush())
	require.Equal(t, "m\x00\x00\x03abc", string(b.Bytes()))
	require.ErrorIs(t, format.PutLength(header[:3], 3), framing.ErrFormat)
}

func TestHeaderOfAVarintIsWrittenAlone(t *testing.T) {
	b, body := netpoll.NewLinkBuffer(), holding(t, strings.Repeat("x", 300))
	defer b.Close()
	require.NoError(t, framing.Varint{}.WriteHeader(b, 300))
	require.NoError(t, b.Append(body))
	require.NoError(t, b.Flush())
	frame, err := framing.Next(b, framing.Varint{})
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", 300), string(frame))
}

// A frame that is refused leaves the input as it was, also when its end has not arrived.
func TestLongFrameIsRefusedFromItsHeaderOn(t *testing.T) {
	for _, test := range []struct {
		name string
		try  func(r netpoll.Reader) error
		in   string
		want framing.TooLongError
		text string
	}{
		{"length", try(framing.LengthField{Size: 4, Limit: 10}), "\x00\x00\x00\x0b",
			framing.TooLongError{Op: "read frame", Length: 11, Limit: 10}, "read frame: 11 bytes, at most 10 are allowed"},
		{"length above every int", try(framing.LengthField{Size: 8, Adjustment: 7}), "\xff\xff\xff\xff\xff\xff\xff\xff",
			framing.TooLongError{Op: "read frame", Length: math.MaxUint64, Limit: framing.DefaultLimit}, "at most 1048576"},
		{"varint", try(framing.Varint{Limit: 10}), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
			framing.TooLongError{Op: "read frame", Length: math.MaxUint64, Limit: 10}, "at most 10"},
		{"delimiter", try(framing.Delimiter{Delim: "END", Limit: 4}), "abcdeEN",
			framing.TooLongError{Op: "read frame", Limit: 4}, "read frame: no end within 4 bytes"},
		{"line", try(framing.Line{Limit: 4}), "abcde\r", framing.TooLongError{Op: "read frame", Limit: 4}, "no end"},
		{"line whose end is there", try(framing.Line{Limit: 4}), "abcde\n", framing.TooLongError{Op: "read frame", Limit: 4}, "no end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := holding(t, test.in)
			err := test.try(b)
			var long *framing.TooLongError
			require.ErrorAs(t, err, &long)
			require.Equal(t, test.want, *long)
			require.ErrorContains(t, err, test.text)
			require.Equal(t, test.in, string(b.Bytes()))
		})
	}
}

func try[F framing.Format](f F) func(r netpoll.Reader) error {
	return func(r netpoll.Reader) error {
		_, _, err := framing.TryNext(r, f)
		return err
	}
}

func TestFrameOfTheLimitIsRead(t *testing.T) {
	for name, test := range map[string]struct {
		try func(r netpoll.Reader) error
		in  string
	}{
		"length":    {try(framing.LengthField{Size: 1, Limit: 4}), "\x04abcd"},
		"varint":    {try(framing.Varint{Limit: 4}), "\x04abcd"},
		"delimiter": {try(framing.Delimiter{Delim: "END", Limit: 4}), "abcdEND"},
		"line":      {try(framing.Line{Limit: 4}), "abcd\n"},
		"CRLF":      {try(framing.Line{Limit: 4}), "abcd\r\n"},
	} {
		b := holding(t, test.in)
		require.NoError(t, test.try(b), name)
		require.True(t, b.IsEmpty(), name)
	}
}

func TestLengthThatNoFrameHasIsAnError(t *testing.T) {
	var bad *framing.LengthError
	err := try(framing.LengthField{Size: 2, Adjustment: -2})(holding(t, "\x00\x01"))
	require.ErrorAs(t, err, &bad)
	require.EqualError(t, err, "read frame: length 1, adjusted by -2")
	err = try(framing.Varint{})(holding(t, strings.Repeat("\x80", 10)))
	require.ErrorAs(t, err, &bad)
	require.EqualError(t, err, "read frame: length of more than 64 bits")
}

func TestSettingsWithoutFramesAreErrors(t *testing.T) {
	b := netpoll.NewLinkBuffer()
	defer b.Close()
	for name, err := range map[string]error{
		"size":            try(framing.LengthField{Size: 5})(b),
		"no size":         framing.LengthField{}.Write(b, nil, nil),
		"offset":          try(framing.LengthField{Size: 4, Offset: -1})(b),
		"far offset":      try(framing.LengthField{Size: 4, Offset: 64<<10 + 1})(b),
		"limit":           try(framing.LengthField{Size: 4, Limit: -1})(b),
		"varint":          try(framing.Varint{Limit: -1})(b),
		"varint, write":   framing.Varint{Limit: -1}.Write(b, nil),
		"bytes":           framing.Varint{}.WriteHeader(b, -1),
		"no delimiter":    try(framing.Delimiter{})(b),
		"delimiter":       framing.Delimiter{Delim: "a", Limit: -1}.Write(b, nil),
		"long delimiter":  framing.Delimiter{Delim: strings.Repeat("x", 64<<10+1)}.Write(b, nil),
		"line":            framing.Line{Limit: -1}.Write(b, nil),
		"line, read":      try(framing.Line{Limit: -1})(b),
		"head":            framing.LengthField{Size: 1, Offset: 1}.Write(b, []byte("ab"), nil),
		"negative length": framing.LengthField{Size: 1, Adjustment: 4}.Write(b, nil, []byte("abc")),
	} {
		require.ErrorIs(t, err, framing.ErrFormat, name)
	}
	require.Zero(t, b.MallocLen())
}

func TestFrameTooLongForItsFieldIsNotWritten(t *testing.T) {
	b := netpoll.NewLinkBuffer()
	defer b.Close()
	body := make([]byte, 256)
	for _, test := range []struct {
		err  error
		want framing.TooLongError
	}{
		{framing.LengthField{Size: 1}.Write(b, nil, body), framing.TooLongError{Op: "write frame", Length: 256, Limit: 255}},
		{framing.LengthField{Size: 1, Adjustment: -1}.Write(b, nil, body[:255]), framing.TooLongError{Op: "write frame", Length: 255, Limit: 254}},
		{framing.LengthField{Size: 2, Limit: 9}.Write(b, nil, body), framing.TooLongError{Op: "write frame", Length: 256, Limit: 9}},
		{framing.Varint{Limit: 255}.Write(b, body), framing.TooLongError{Op: "write frame", Length: 256, Limit: 255}},
		{framing.Line{Limit: 255}.Write(b, body), framing.TooLongError{Op: "write frame", Length: 256, Limit: 255}},
		{framing.Delimiter{Delim: "x", Limit: 255}.Write(b, body), framing.TooLongError{Op: "write frame", Length: 256, Limit: 255}},
	} {
		var long *framing.TooLongError
		require.True(t, errors.As(test.err, &long), "%v", test.err)
		require.Equal(t, test.want, *long)
	}
	require.Zero(t, b.MallocLen())
}

func TestDelimiterInsideAFrameIsNotWritten(t *testing.T) {
	b := netpoll.NewLinkBuffer()
	defer b.Close()
	for _, test := range []struct {
		err error
		at  int
	}{
		{framing.Line{}.Write(b, []byte("ab\nc")), 2},
		{framing.Line{}.Write(b, []byte("ab\r")), 2},
		{framing.Line{CRLF: true}.Write(b, []byte("\n")), 0},
		{framing.Delimiter{Delim: "--"}.Write(b, []byte("a--b")), 1},
		{framing.Delimiter{Delim: "aba"}.Write(b, []byte("xab")), 1}, // "xababa" would end after "x"
	} {
		var inside *framing.DelimiterError
		require.ErrorAs(t, test.err, &inside)
		require.Equal(t, test.at, inside.At)
	}
	require.Zero(t, b.MallocLen())
	require.NoError(t, framing.Line{CRLF: true}.Write(b, []byte("ab\r")))
}

// How far is looked doubles, and a delimiter may lie across the end of each look.
func TestDelimiterIsFoundAcrossLooks(t *testing.T) {
	for size := range 1200 {
		text := strings.Repeat("-", size)
		b := holding(t, text+"\r\n.")
		frame, err := framing.Next(b, framing.Delimiter{Delim: "\r\n."})
		require.NoError(t, err)
		require.Equal(t, text, string(frame))
		require.NoError(t, b.Close())
	}
}

// A frame is the Reader's own memory, and one that Slice has cut out needs no copy even if it lies in several blocks.
func TestFramesAreNotCopied(t *testing.T) {
	b := netpoll.NewLinkBuffer()
	defer b.Close()
	long := []byte(strings.Repeat("x", 8<<10)) // pointed to, not copied, by WriteBinary
	format := framing.LengthField{Size: 4}
	require.NoError(t, format.Write(b, nil, long))
	require.NoError(t, b.Flush())
	part, err := framing.Slice(b, format)
	require.NoError(t, err)
	p, err := part.Next(len(long))
	require.NoError(t, err)
	require.Same(t, &long[0], &p[0])

	short := []byte(strings.Repeat("y", 100))
	require.NoError(t, framing.Line{}.Write(b, short))
	require.NoError(t, b.Flush())
	seen, err := b.Peek(1)
	require.NoError(t, err)
	line, err := framing.Next(b, framing.Line{})
	require.NoError(t, err)
	require.Same(t, &seen[0], &line[0])
}

func TestFramesAllocateNothing(t *testing.T) {
	body := []byte(strings.Repeat("x", 100))
	delim := framing.Delimiter{Delim: strings.Repeat("-", 40)} // longer than what Go converts on the stack
	length := framing.LengthField{Size: 4, Offset: 2}
	head := []byte("hh")
	for name, cost := range map[string]float64{
		"length":    costOf(t, length, func(w netpoll.Writer) error { return length.Write(w, head, body) }),
		"varint":    costOf(t, framing.Varint{}, func(w netpoll.Writer) error { return framing.Varint{}.Write(w, body) }),
		"line":      costOf(t, framing.Line{}, func(w netpoll.Writer) error { return framing.Line{}.Write(w, body) }),
		"delimiter": costOf(t, delim, func(w netpoll.Writer) error { return delim.Write(w, body) }),
	} {
		require.Zero(t, cost, name)
	}
}

// costOf returns the allocations of writing a frame, and reading it in both ways.
func costOf[F framing.Format](t *testing.T, f F, write func(w netpoll.Writer) error) float64 {
	var rw netpoll.ReadWriter = netpoll.NewLinkBuffer()
	defer rw.(*netpoll.LinkBuffer).Close()
	return testing.AllocsPerRun(1000, func() {
		err := errors.Join(write(rw), write(rw), rw.Flush())
		_, errNext := framing.Next(rw, f)
		_, ok, errTry := framing.TryNext(rw, f)
		if err != nil || errNext != nil || errTry != nil || !ok {
			t.Error(err, errNext, errTry, ok)
		}
		if _, ok, err := framing.TryNext(rw, f); ok || err != nil {
			t.Error("there is one more", err)
		}
		_ = rw.Release()
	})
}

// BenchmarkFrames writes and reads one frame of 100 bytes.
func BenchmarkFrames(b *testing.B) {
	body := []byte(strings.Repeat("x", 100))
	b.Run("format=length", func(b *testing.B) {
		f := framing.LengthField{Size: 4}
		benchmark(b, f, func(w netpoll.Writer) error { return f.Write(w, nil, body) })
	})
	b.Run("format=varint", func(b *testing.B) {
		f := framing.Varint{}
		benchmark(b, f, func(w netpoll.Writer) error { return f.Write(w, body) })
	})
	b.Run("format=line", func(b *testing.B) {
		f := framing.Line{}
		benchmark(b, f, func(w netpoll.Writer) error { return f.Write(w, body) })
	})
	b.Run("format=delimiter", func(b *testing.B) {
		f := framing.Delimiter{Delim: "\r\n"}
		benchmark(b, f, func(w netpoll.Writer) error { return f.Write(w, body) })
	})
}

func benchmark[F framing.Format](b *testing.B, f F, write func(w netpoll.Writer) error) {
	rw := netpoll.NewLinkBuffer()
	defer rw.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := write(rw); err != nil {
			b.Fatal(err)
		}
		_ = rw.Flush()
		if _, ok, err := framing.TryNext(rw, f); !ok || err != nil {
			b.Fatal(ok, err)
		}
		_ = rw.Release()
	}
}
