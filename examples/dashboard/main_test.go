package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPageGetsFiguresOfTheLoad starts everything and asks for what the page asks for, until that shows the load.
func TestPageGetsFiguresOfTheLoad(t *testing.T) {
	d, err := start("127.0.0.1:0", 5)
	require.NoError(t, err)
	response, err := http.Get("http://" + d.addr + "/")
	require.NoError(t, err)
	require.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
	require.NoError(t, response.Body.Close())

	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + d.addr + "/history")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		var samples []sample
		if json.NewDecoder(response.Body).Decode(&samples) != nil || len(samples) == 0 {
			return false
		}
		last := samples[len(samples)-1].Stats
		return last.Traffic.BytesIn > 0 && last.Conns.Open > 0 && len(last.EventLoops) == 1
	}, 20*time.Second, 50*time.Millisecond)
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, d.stop())
}
