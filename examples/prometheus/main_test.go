package main

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// TestScrapeShowsWhatHappened talks to the echo server, and compares what a scrape shows with that.
func TestScrapeShowsWhatHappened(t *testing.T) {
	s, err := start("127.0.0.1:0", "127.0.0.1:0")
	require.NoError(t, err)
	conn, err := net.Dial("tcp", s.echoAddr)
	require.NoError(t, err)
	const text = "seventeen bytes..."
	for range 3 {
		_, err := io.WriteString(conn, text)
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, len(text)))
		require.NoError(t, err)
	}

	response, err := http.Get("http://" + s.metricsAddr + "/metrics")
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	for _, line := range []string{
		`netpoll_connections_served{listener="` + s.echoAddr + `"} 1`,
		`netpoll_connections_accepted_total{listener="` + s.echoAddr + `"} 1`,
		`netpoll_connections_ended_total{reason="peer"} 0`,
		`# TYPE netpoll_handler_duration_seconds histogram`,
		`netpoll_handler_duration_seconds_bucket{le="+Inf"}`,
	} {
		require.Contains(t, string(body), line)
	}

	problems, err := testutil.CollectAndLint(Collector{})
	require.NoError(t, err)
	require.Empty(t, problems)

	require.NoError(t, conn.Close())
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, s.stop())
}
