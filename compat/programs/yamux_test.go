package programs

// hashicorp/yamux: many streams on one connection, with flow control and keep-alives of its own.

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/require"
)

// quietYamux returns the configuration of both sides, without log output.
func quietYamux() *yamux.Config {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	return config
}

// echoStreams echoes the input of each stream of conn until the session ends.
func echoStreams(conn net.Conn) {
	s, err := yamux.Server(conn, quietYamux())
	if err != nil {
		return
	}
	defer s.Close()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		stream, err := s.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer stream.Close()
			_, _ = io.Copy(stream, stream)
		})
	}
}

func dialYamux(t *testing.T, on sides) *yamux.Session {
	t.Helper()
	address := on.serveEach(t, echoStreams)
	conn, err := on.dialBounded(timeLimit(t), address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	s, err := yamux.Client(conn, quietYamux())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestYamuxCarriesManyStreamsAtOnce(t *testing.T) {
	const streams = 100
	againstNet(t, func(t *testing.T, on sides) {
		s := dialYamux(t, on)
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				if err := echoOnStream(s, pattern(i, i*1_000)); err != nil {
					t.Errorf("stream %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		require.Eventually(t, func() bool { return s.NumStreams() == 0 }, patience, time.Millisecond)
		_, err := s.Ping()
		require.NoError(t, err)
	})
}

// echoOnStream sends p on a new stream and fails if anything else comes back.
func echoOnStream(s *yamux.Session, p []byte) error {
	stream, err := s.OpenStream()
	if err != nil {
		return err
	}
	defer stream.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(stream, bytes.NewReader(p))
		sent <- err
	}()
	got := make([]byte, len(p))
	_, err = io.ReadFull(stream, got)
	if err = errors.Join(err, <-sent); err == nil && !bytes.Equal(got, p) {
		err = errors.New(digest(got) + " came back for " + digest(p))
	}
	return err
}

// A stream that is not read fills its flow-control window. The other streams must not wait for it.
func TestYamuxStreamThatIsNotReadHoldsUpNoOther(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		s := dialYamux(t, on)
		idle, err := s.OpenStream()
		require.NoError(t, err)
		sent := make(chan error, 1)
		go func() {
			_, err := idle.Write(pattern(0, 2<<20)) // more than the windows of both directions
			sent <- err
		}()
		for i := range 20 {
			require.NoError(t, echoOnStream(s, pattern(i, 100_000)))
		}
		require.Empty(t, sent)
		require.NoError(t, s.Close())
		require.Error(t, await(t, sent, "the end of the write"))
	})
}
