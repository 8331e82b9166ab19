package caller

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/bench/internal/frame"
)

// fakeLibrary answers calls at once. From the bad-th on, the answers are wrong.
type fakeLibrary struct {
	mu    sync.Mutex // guards the fields below
	calls int
	bad   int
	dials int
	open  int
}

func (l *fakeLibrary) Dial(string) (Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dials++
	l.open++
	return &fakeConn{l: l}, nil
}

// answer is the response to the request with that stamp.
func (l *fakeLibrary) answer(t *frame.Template, stamp uint64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	msg := make([]byte, t.Len())
	t.Put(msg, stamp)
	if l.bad > 0 && l.calls >= l.bad {
		msg[len(msg)-1]++
	}
	return msg
}

type fakeConn struct {
	l        *fakeLibrary
	received func([]byte, error)
}

func (c *fakeConn) Call(t *frame.Template, stamp uint64) error {
	return t.Verify(c.l.answer(t, stamp), stamp)
}
func (c *fakeConn) Alive() bool { return true }
func (c *fakeConn) Close() error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.open--
	return nil
}

func (c *fakeConn) Send(t *frame.Template, stamp uint64) error {
	c.received(c.l.answer(t, stamp), nil)
	return nil
}

func (l *fakeLibrary) DialMux(_ string, received func([]byte, error)) (Mux, error) {
	c, err := l.Dial("")
	if err != nil {
		return nil, err
	}
	c.(*fakeConn).received = received
	return c.(*fakeConn), nil
}

func runFake(cfg Config, lib *fakeLibrary) (string, error) {
	cfg.Size, cfg.Window = 64, 20*time.Millisecond
	var out strings.Builder
	err := run(cfg, lib, strings.NewReader("go\n"), &out)
	return out.String(), err
}

func TestEveryModeCallsAndClosesWhatItOpened(t *testing.T) {
	for mode, dials := range map[string]int{"pool": 10, "mux": 10, "dial": -1} {
		lib := new(fakeLibrary)
		out, err := runFake(Config{Mode: mode, Callers: 5, Conns: 10}, lib)
		require.NoError(t, err, mode)
		ready, answer, _ := strings.Cut(out, "\n")
		require.Equal(t, "ready", ready)
		var res Result
		require.NoError(t, json.Unmarshal([]byte(answer), &res))
		require.Positive(t, res.Requests, mode)
		require.Greater(t, res.After.Monotonic, res.Before.Monotonic)
		require.Zero(t, lib.open, mode)
		if dials > 0 {
			require.Equal(t, dials, lib.dials, mode)
		} else {
			require.Equal(t, lib.calls, lib.dials, mode)
		}
	}
}

func TestOneWrongResponseEndsTheClient(t *testing.T) {
	for _, mode := range []string{"pool", "mux", "dial"} {
		_, err := runFake(Config{Mode: mode, Callers: 3, Conns: 3}, &fakeLibrary{bad: 50})
		require.ErrorContains(t, err, "differs from what was sent", mode)
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	_, err := runFake(Config{Mode: "pool", Callers: 5, Conns: 4}, new(fakeLibrary))
	require.ErrorContains(t, err, "4 connections for 5 callers")
	_, err = runFake(Config{Mode: "smoke signals"}, new(fakeLibrary))
	require.ErrorContains(t, err, "smoke signals")
}

func TestABrokenSharedConnectionWakesEveryCaller(t *testing.T) {
	s, err := newShared(Config{Callers: 3, Conns: 1}, new(fakeLibrary), nil)
	require.NoError(t, err)
	gone := errors.New("gone")
	s.received(nil, gone)
	for i := range s.waits {
		require.ErrorIs(t, <-s.waits[i].done, gone)
	}
}
