package test

// What a program can be called for, beside its handlers: panics, slow handlers, and the beginning of Shutdown.

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// identified is a connection that has an ID and hears of Shutdown.
type identified interface {
	ID() uint64
	Draining() <-chan struct{}
}

func panickingHandler(context.Context, netpoll.Connection) error { panic("as the test wants it") }

func TestPanicHookGetsTheConnectionAndTheStack(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
		reports := make(chan netpoll.PanicReport, 1)
		require.NoError(t, netpoll.Configure(netpoll.Config{OnPanic: func(r netpoll.PanicReport) {
			if !r.Conn.IsActive() {
				t.Error("the connection was closed before the hook")
			}
			reports <- r
		}}))
		s := testnet.NewServer(t, "tcp", panickingHandler)
		c := s.Dial()
		_, err := io.WriteString(c, "x")
		require.NoError(t, err)
		r := testkit.Receive(t, reports)
		require.Equal(t, "OnRequest", r.Callback)
		require.Equal(t, "as the test wants it", r.Value)
		require.Contains(t, string(r.Stack), "panickingHandler")
		require.Equal(t, c.LocalAddr().String(), r.Conn.RemoteAddr().String())
		testkit.ExpectEnd(t, c, "")
		require.Contains(t, log.String(), "as the test wants it", "the message is written as without a hook")
	})
}

func TestStructuredLoggerTakesTheMessages(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		var plain, structured testBuffer
		require.NoError(t, netpoll.Configure(netpoll.Config{
			LoggerOutput: &plain, Logger: slog.New(slog.NewTextHandler(&structured, nil)),
		}))
		s := testnet.NewServer(t, "tcp", panickingHandler)
		c := s.Dial()
		_, err := io.WriteString(c, "x")
		require.NoError(t, err)
		testkit.ExpectEnd(t, c, "")
		for _, part := range []string{"level=ERROR", "callback=OnRequest", "conn=", "peer=" + c.LocalAddr().String(),
			`panic="as the test wants it"`, "stack=", "panickingHandler"} {
			require.Contains(t, structured.String(), part)
		}
		require.Empty(t, plain.String())

		netpoll.SetLoggerOutput(&plain)
		c = s.Dial()
		_, err = io.WriteString(c, "x")
		require.NoError(t, err)
		testkit.ExpectEnd(t, c, "")
		require.Contains(t, plain.String(), "panic in OnRequest", "the last one that was set counts")
	})
}

// testBuffer may be used by several goroutines.
type testBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *testBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *testBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestSlowHookNamesTheConnection(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		reports := make(chan netpoll.SlowReport, 10)
		require.NoError(t, netpoll.Configure(netpoll.Config{
			SlowHandler: testkit.Short, OnSlowHandler: func(r netpoll.SlowReport) { reports <- r },
		}))
		s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
			if word, _ := conn.Reader().Peek(1); string(word) == "s" {
				<-time.After(2 * testkit.Short)
			}
			return testnet.Echo(ctx, conn)
		})
		quick, slow := s.Dial(), s.Dial()
		testkit.ExpectEcho(t, slow, "slow")
		r := testkit.Receive(t, reports)
		require.Equal(t, "OnRequest", r.Callback)
		require.Equal(t, slow.LocalAddr().String(), r.Conn.RemoteAddr().String())
		require.GreaterOrEqual(t, r.Took, 2*testkit.Short)
		testkit.ExpectEcho(t, quick, "quick")
	})
}

func TestConfigureRefusesHalfASlowHook(t *testing.T) {
	for name, config := range map[string]netpoll.Config{
		"no hook":  {SlowHandler: time.Second},
		"no time":  {OnSlowHandler: func(netpoll.SlowReport) {}},
		"negative": {SlowHandler: -1, OnSlowHandler: func(netpoll.SlowReport) {}},
	} {
		require.Error(t, netpoll.Configure(config), name)
	}
}

func TestConnectionsHaveIDsOfTheirOwn(t *testing.T) {
	seen := make(map[uint64]bool)
	add := func(conn netpoll.Connection) {
		id := conn.(identified).ID()
		require.NotZero(t, id)
		require.False(t, seen[id], "%d twice", id)
		seen[id] = true
	}
	for range 3 {
		client, server := testnet.Pair(t, "tcp")
		add(client)
		add(server)
		require.NoError(t, client.Close())
	}
	a, b := net.Pipe()
	defer b.Close()
	piped, err := netpoll.NewConnection(a)
	require.NoError(t, err)
	defer piped.Close()
	add(piped)
}

// A function of WithOnShutdown says goodbye to an idle connection before Shutdown closes it, and a handler that runs finds
// that Shutdown has begun.
func TestShutdownGivesNotice(t *testing.T) {
	conns := make(chan netpoll.Connection, 2)
	release := make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		word, err := conn.Reader().ReadString(4)
		if err != nil {
			return err
		}
		conns <- conn
		if word == "busy" {
			<-release
			select {
			case <-conn.(identified).Draining():
				_, err = conn.Write([]byte("last"))
			default:
				_, err = conn.Write([]byte("more"))
			}
		}
		return err
	}, netpoll.WithOnShutdown(func() {
		for range 2 {
			conn := <-conns
			if _, err := conn.Write([]byte("goodbye")); err != nil {
				t.Error(err)
			}
		}
	}))
	idle, busy := s.Dial(), s.Dial()
	_, err := io.WriteString(idle, "idle")
	require.NoError(t, err)
	_, err = io.WriteString(busy, "busy")
	require.NoError(t, err)
	testkit.Eventually(t, func() bool { return len(conns) == 2 })

	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown() }()
	testkit.ExpectEnd(t, idle, "goodbye")
	testkit.Expect(t, busy, "goodbye")
	close(release)
	testkit.ExpectEnd(t, busy, "last")
	require.NoError(t, testkit.Receive(t, ended))
}

func TestShutdownWaitsForItsNoticeNoLongerThanItsContext(t *testing.T) {
	release := make(chan struct{})
	returned := make(chan struct{})
	s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithOnShutdown(func() {
		defer close(returned)
		<-release
	}), netpoll.WithOnShutdown(nil))
	c := s.Dial()
	testkit.ExpectEcho(t, c, "hello")
	ctx, cancel := context.WithCancel(context.Background())
	ended := testkit.Blocked(t, func() error { return s.Loop.Shutdown(ctx) })
	cancel()
	testkit.ExpectEnd(t, c, "") // which was idle
	testkit.Receive(t, ended)
	close(release)
	testkit.Receive(t, returned)
}

func TestShutdownSurvivesItsNotice(t *testing.T) {
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithOnShutdown(func() { panic("as the test wants it") }))
	testkit.ExpectEcho(t, s.Dial(), "hello")
	require.NoError(t, s.Shutdown())
	require.Contains(t, log.String(), "as the test wants it")
}

func TestDialedConnectionsAreNeverDraining(t *testing.T) {
	client, _ := testnet.Pair(t, "tcp")
	require.Nil(t, client.(identified).Draining())
}
