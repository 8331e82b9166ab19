package programs

// curl sends requests to the HTTP servers. The tests check the answers and the number of connections, not the speed.

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tool returns a command that runs a program. The program is killed at the end of the test.
func tool(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err, "these tests need %s: apt-get install -y curl wrk openssl gnutls-bin nghttp2-client", name)
	return exec.CommandContext(timeLimit(t), path, args...)
}

// curlCommand returns a command that runs curl. It trusts the site, if that has TLS.
func (s *outsideSite) curlCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	all := []string{"-q", "-sS", "--noproxy", "*"}
	if s.authority != "" {
		all = append(all, "--cacert", s.authority)
	}
	return tool(t, "curl", append(all, args...)...)
}

// curl runs curl with input and returns what it wrote to standard output and to standard error.
func (s *outsideSite) curl(t *testing.T, input []byte, args ...string) (out []byte, messages string) {
	t.Helper()
	cmd := s.curlCommand(t, append([]string{"--max-time", "30"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	require.NoError(t, cmd.Run(), stderr.String())
	return stdout.Bytes(), stderr.String()
}

// fileOf writes p to a file for curl.
func fileOf(t *testing.T, p []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(path, p, 0o600))
	return path
}

func TestCurlKeepsOneConnection(t *testing.T) {
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		const requests = 20
		args := []string{"-w", " %{num_connects}\n"}
		for range requests {
			args = append(args, s.url("/ip"))
		}
		out, _ := s.curl(t, nil, args...)
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		require.Len(t, lines, requests)
		first, connects, _ := strings.Cut(lines[0], " ")
		require.Equal(t, "1", connects)
		for _, line := range lines[1:] {
			require.Equal(t, first+" 0", line)
		}
	})
}

func TestCurlClosesOnRequest(t *testing.T) {
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		for _, args := range [][]string{{"-H", "Connection: close"}, {"--http1.0"}} {
			args = append(args, "-w", " %{num_connects}\n", s.url("/ip"), s.url("/ip"))
			out, _ := s.curl(t, nil, args...)
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			require.Len(t, lines, 2)
			require.NotEqual(t, lines[0], lines[1])
			for _, line := range lines {
				require.True(t, strings.HasSuffix(line, " 1"), line)
			}
		}
	})
}

func TestCurlDownloadsBodiesOfEverySize(t *testing.T) {
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		for _, path := range []string{"/blob", "/chunks"} {
			for _, size := range []int{0, 1, 4095, 4096, 4097, 4 << 20} {
				out, _ := s.curl(t, nil, s.url(fmt.Sprint(path, "?n=", size)))
				require.Equal(t, digest(pattern(0, size)), digest(out), path)
			}
		}
	})
}

func TestCurlUploadsWithAndWithoutALength(t *testing.T) {
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		for i, size := range []int{1, 4096, 3 << 20} {
			body := pattern(i, size)
			out, _ := s.curl(t, nil, "--data-binary", "@"+fileOf(t, body), s.url("/echo"))
			require.Equal(t, digest(body), digest(out))
			out, _ = s.curl(t, body, "-X", "POST", "-T", "-", s.url("/echo")) // of unknown length: in chunks
			require.Equal(t, digest(body), digest(out))
			out, _ = s.curl(t, body, "-X", "POST", "-T", "-", s.url("/sum"))
			require.Equal(t, digest(body), string(out))
		}
	})
}

// curl waits for the server's "100 Continue" before it sends the body. Without it, curl would wait for a minute.
func TestCurlSendsABodyWhenTheServerSaysContinue(t *testing.T) {
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		body := pattern(1, 3<<20)
		out, messages := s.curl(t, nil, "-v", "-H", "Expect: 100-continue", "--expect100-timeout", "60",
			"--data-binary", "@"+fileOf(t, body), s.url("/sum"))
		require.Equal(t, digest(body), string(out))
		require.Contains(t, messages, "< HTTP/1.1 100 Continue")
	})
}

// The body is more than the socket buffers can hold, so the server has to wait for curl. It serves other clients
// meanwhile.
func TestCurlDownloadsSlowly(t *testing.T) {
	const size = 12 << 20
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		t.Parallel()
		for _, path := range []string{"/blob", "/chunks"} {
			out, _ := s.curl(t, nil, "--limit-rate", "16M", s.url(path+"?n="+strconv.Itoa(size)))
			require.Equal(t, digest(pattern(0, size)), digest(out))
		}
	})
}

// Behaviour 5.2: the server finds that the client has gone, and ends the response.
func TestCurlThatIsKilledEndsItsResponse(t *testing.T) {
	const size = 48 << 20
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		for _, path := range []string{"/blob", "/chunks"} {
			cmd := s.curlCommand(t, s.url(path+"?n="+strconv.Itoa(size)))
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			got := make([]byte, 100_000)
			_, err = io.ReadFull(out, got)
			require.NoError(t, err)
			require.Equal(t, digest(pattern(0, len(got))), digest(got))
			require.NoError(t, cmd.Process.Kill())
			require.Error(t, cmd.Wait())
			require.Positive(t, await(t, s.left, "the response's end"))
			out2, _ := s.curl(t, nil, s.url("/blob?n=100"))
			require.Equal(t, pattern(0, 100), out2)
		}
	})
}

func TestCurlThatIsKilledEndsItsUpload(t *testing.T) {
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		for range 3 {
			cmd := s.curlCommand(t, "-X", "POST", "-T", "-", s.url("/sum"))
			in, err := cmd.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			_, err = in.Write(pattern(0, 200_000))
			require.NoError(t, err)
			require.NoError(t, cmd.Process.Kill())
			require.Error(t, cmd.Wait())
			out, _ := s.curl(t, nil, s.url("/blob?n=100"))
			require.Equal(t, pattern(0, 100), out)
		}
	})
}

func TestCurlDownloadsManyAtOnce(t *testing.T) {
	const files = 30
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		dir := t.TempDir()
		s.curl(t, nil, "--parallel", "--parallel-max", "30", "-o", filepath.Join(dir, "#1"),
			s.url(fmt.Sprintf("/blob?n=[1-%d]0007", files)))
		for i := 1; i <= files; i++ {
			name := strconv.Itoa(i)
			got, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			size, _ := strconv.Atoi(name + "0007")
			require.Equal(t, digest(pattern(0, size)), digest(got))
		}
	})
}

// Behaviour 5.7.
func TestCurlIsServedAfterAPanic(t *testing.T) {
	overOutsideSites(t, func(t *testing.T, s *outsideSite) {
		for range 3 {
			cmd := s.curlCommand(t, "-s", "--fail", s.url("/boom"))
			require.Error(t, cmd.Run(), "the server does not answer, or answers with an error")
			out, _ := s.curl(t, nil, s.url("/blob?n=5000"))
			require.Equal(t, pattern(0, 5000), out)
		}
	})
}

func TestCurlSpeaksHTTP2OverTLS(t *testing.T) {
	const files = 20
	for _, p := range protocols {
		if !p.byALPN() {
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("GET /blob", func(w http.ResponseWriter, r *http.Request) {
				n, _ := strconv.Atoi(r.FormValue("n"))
				_, _ = w.Write(pattern(0, n))
			})
			mux.HandleFunc("POST /", echoBody)
			site := startSite(t, sides{server: true}, p, mux)
			s := &outsideSite{authority: fileOf(t, site.pem)}
			dir := t.TempDir()
			out, _ := s.curl(t, nil, "--http2", "-w", "%{http_version} %{num_connects}\n",
				"-o", filepath.Join(dir, "#1"), site.url+fmt.Sprintf("/blob?n=[1-%d]0007", files))
			require.Equal(t, "2 1\n"+strings.Repeat("2 0\n", files-1), string(out))
			for i := 1; i <= files; i++ {
				got, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i)))
				require.NoError(t, err)
				size, _ := strconv.Atoi(fmt.Sprint(i, "0007"))
				require.Equal(t, digest(pattern(0, size)), digest(got))
			}
			body := pattern(1, 4<<20)
			out, _ = s.curl(t, nil, "--http2", "--data-binary", "@"+fileOf(t, body), site.url)
			require.Equal(t, digest(body), digest(out))
		})
	}
}
