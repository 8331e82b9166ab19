package programs

// wrk sends requests to the HTTP servers over many connections. A plain client sends all its requests before it reads.

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var countsOfWrk = regexp.MustCompile(
	`counts good=(\d+) bad=(\d+) connect=(\d+) read=(\d+) write=(\d+) timeout=(\d+) (.*)`)

// testdata/check.lua checks every answer.
func TestWrkFindsNoWrongAnswer(t *testing.T) {
	for name, args := range map[string][]string{"one at a time": nil, "pipelined": {"--", "4"}} {
		t.Run(name, func(t *testing.T) {
			overOutsideSites(t, func(t *testing.T, s *outsideSite) {
				t.Parallel()
				conns, seconds := "32", "1"
				if s.layer != nil {
					conns, seconds = "8", "2" // the handshakes come first, and take long under the race detector
				}
				cmd := tool(t, "wrk", append([]string{
					"-t", "2", "-c", conns, "-d", seconds, "--timeout", "10s", "-s", "testdata/check.lua", s.url("/"),
				}, args...)...)
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, string(out))
				counts := countsOfWrk.FindStringSubmatch(string(out))
				require.NotNil(t, counts, string(out))
				for i, what := range []string{"wrong answers", "connect", "read", "write", "timeout"} {
					require.Equal(t, "0", counts[2+i], "%s: %s", what, counts[0])
				}
				good, err := strconv.ParseInt(counts[1], 10, 64)
				require.NoError(t, err)
				require.Positive(t, good)
				require.GreaterOrEqual(t, s.blobs.Load(), good, "more answers than requests")
				t.Logf("%s: %d answers", s.name, good)
			})
		})
	}
}

// Bodies are shorter than 8 KiB: Hertz streams longer ones here, and after such a body it does not find the next request
// of the pipeline.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	const requests = 300
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		conn := s.dial(t)
		wrote := make(chan error, 1)
		go func() {
			var all strings.Builder
			for i := range requests {
				body := pattern(i, i*23)
				fmt.Fprintf(&all, "POST /sum HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			_, err := io.WriteString(conn, all.String())
			wrote <- err
		}()
		r := bufio.NewReader(conn)
		for i := range requests {
			resp, err := http.ReadResponse(r, nil)
			require.NoError(t, err, "answer %d", i)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, digest(pattern(i, i*23)), string(got), "answer %d", i)
		}
		require.NoError(t, await(t, wrote, "the end of the writer"))
	})
}
