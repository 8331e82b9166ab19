package testkit_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// fails returns the text with which f fails a test.
func fails(f func(t testing.TB)) (text string) {
	r := recorder{text: new(string)}
	done := make(chan struct{})
	go func() { defer close(done); f(r) }()
	<-done
	return *r.text
}

// recorder is a testing.TB that records the text of its failure.
type recorder struct {
	testing.TB
	text *string
}

func (r recorder) Helper() {}

func (r recorder) Fatalf(format string, args ...any) {
	*r.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestWaiting(t *testing.T) {
	var rounds int
	testkit.Eventually(t, func() bool { rounds++; return rounds == 3 })
	require.Equal(t, 3, rounds)

	ch := make(chan int, 1)
	ch <- 7
	require.Equal(t, 7, testkit.Receive(t, ch))
	testkit.Silent(t, time.Millisecond, ch, "a number")
	ch <- 8
	require.Equal(t, "a number too early, with 8",
		fails(func(t testing.TB) { testkit.Silent(t, testkit.Timeout, ch, "a number") }))
	close(ch)
	require.Zero(t, testkit.Receive(t, ch, "the end of %v", ch))

	release := make(chan struct{})
	defer close(release)
	require.Contains(t, fails(func(t testing.TB) { testkit.Within(t, 0, func() { <-release }) }), "in vain")
}

func TestBlockedReturnsWhenTheCallWaits(t *testing.T) {
	var begun atomic.Bool
	goOn := make(chan struct{})
	result := testkit.Blocked(t, func() error { begun.Store(true); <-goOn; return io.EOF })
	require.True(t, begun.Load())
	close(goOn)
	require.Equal(t, io.EOF, testkit.Receive(t, result))
	require.Contains(t, fails(func(t testing.TB) { testkit.Blocked(t, func() error { return io.EOF }) }), "instead of waiting")
}

func TestStreamShowsWhatIsMisplaced(t *testing.T) {
	s := testkit.Stream{Offset: 11}
	const pos = testkit.StreamPeriod - 100
	var p []byte
	for at := int64(pos); len(p) < 3*testkit.MaxPiece; at += 1000 {
		p = append(p, s.Piece(at, 1000)...)
	}
	require.EqualValues(t, -1, s.Differs(pos, p))
	require.NotEqualValues(t, -1, s.Differs(pos+1, p), "shifted")
	require.NotEqualValues(t, -1, testkit.Stream{}.Differs(pos, p), "of another stream")
	p[2*testkit.MaxPiece+5]++
	require.EqualValues(t, pos+2*testkit.MaxPiece+5, s.Differs(pos, p))
}

func TestLogCanBeWaitedFor(t *testing.T) {
	var out io.Writer
	l := testkit.CaptureLog(t, func(w io.Writer) { out = w })
	testkit.Silent(t, time.Millisecond, l.Wrote(), "a line")
	for i := range 2 {
		fmt.Fprintf(out, "line %d\n", i)
	}
	testkit.Receive(t, l.Wrote())
	testkit.Silent(t, time.Millisecond, l.Wrote(), "a second mark")
	require.Equal(t, "line 0\nline 1\n", l.String())
	require.Equal(t, 2, l.Lines())
}

func TestProcessOfItsOwn(t *testing.T) {
	for _, setting := range []string{"one", "two"} {
		t.Run(setting, func(t *testing.T) {
			there, output := testkit.OutputOfOwnProcess(t, "TESTKIT_SETTING="+setting)
			if there {
				fmt.Println("setting", os.Getenv("TESTKIT_SETTING"), "of", os.Getppid())
				return
			}
			require.Contains(t, output, fmt.Sprintf("setting %s of %d", setting, os.Getpid()))
			require.Equal(t, 1, strings.Count(output, "setting "), "others ran too")
		})
	}
}

func TestExpectation(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		testkit.Send(t, b, "hello")
		b.Close()
	}()
	testkit.ExpectEnd(t, a, "hello")
	require.Contains(t, fails(func(t testing.TB) { testkit.Expect(t, strings.NewReader("hellO"), "hello") }), "hellO")
}
