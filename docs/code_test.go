package docs

// This file holds the check that the code in the documents is code: every block compiles, but for what a fragment leaves
// out.

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// prelude is what all blocks may use. A block that declares one of these names has its own.
const prelude = `package %s

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"
)

var (
	_ = bufio.NewReader
	_ = binary.BigEndian
	_ = errors.Is
	_ = expvar.Publish
	_ = fmt.Sprint
	_ = io.EOF
	_ = log.Print
	_ = slog.Info
	_ = os.Args
	_ = signal.Notify
	_ = syscall.EAGAIN
	_ = time.Now
	_ = mux.NewShardQueue

	ctx                                context.Context
	client, backend, src, dst netpoll.Connection
	loop                               netpoll.EventLoop
	ln                                 netpoll.Listener
	raw                                net.Conn
	config                             *tls.Config
	handler                            http.Handler
	file                               *os.File
	onRequest, onSecureRequest         netpoll.OnRequest
	onConnect                          netpoll.OnConnect
	onPrepare                          netpoll.OnPrepare
	onDisconnect                       netpoll.OnDisconnect
	b []byte
	s                                  string
	n, size, remain                    int
	err                                error
)
`

// leftOut matches what the compiler says of a fragment that is right: names that the text explains, values that the
// reader will use, the same result named twice, the end of a function behind an ellipsis.
var leftOut = regexp.MustCompile(`: (undefined: \w+$|declared and not used: |no new variables on left side of :=|missing return$|\w+ redeclared in this block$)`)

var block = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// TestCodeInDocumentsCompiles finds calls of functions, and uses of fields and constants, that do not exist, or not so.
func TestCodeInDocumentsCompiles(t *testing.T) {
	documents, err := filepath.Glob("*.md")
	require.NoError(t, err)
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	places := make(map[string]string)
	for _, document := range append(documents, "../README.md") {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for i, match := range block.FindAllSubmatch(text, -1) {
			code := string(match[1])
			if strings.HasPrefix(code, "package ") || strings.Contains(code, "\npackage ") {
				continue // a whole program: examples/echo has it, and its test compares them
			}
			name := fmt.Sprintf("block%d", len(places)+1)
			source := filepath.Join(dir, name+".go")
			require.NoError(t, os.WriteFile(source, []byte(program(name, code)), 0o600))
			overlay.Replace[filepath.Join(root, "docs", "blocks", name, name+".go")] = source
			places[name] = fmt.Sprintf("%s, block %d", document, i+1)
		}
	}
	require.Greater(t, len(places), 15)
	data, err := json.Marshal(overlay)
	require.NoError(t, err)
	list := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(list, data, 0o600))
	build := exec.Command("go", "build", "-overlay", list, "-gcflags=-e", "./docs/blocks/...")
	build.Dir = root
	out, _ := build.CombinedOutput() // it fails: fragments leave something out
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "\t") || leftOut.MatchString(line) {
			continue
		}
		for name, place := range places {
			line = strings.ReplaceAll(line, filepath.Join(dir, name+".go"), place)
		}
		t.Error(line)
	}
	require.Contains(t, string(out), "undefined: ", "the blocks were not compiled: %s", out)
}

// program makes a package of a block: as it is if that is declarations, and else as the body of a function.
func program(name, code string) string {
	code = regexp.MustCompile(`(?m)^\s*\.\.\.$`).ReplaceAllString(code, "")
	conn := "netpoll.Connection"
	if strings.Contains(code, "netpoll.Packet") {
		conn = "*netpoll.UDPConn"
	}
	whole := fmt.Sprintf(prelude, name) + "var conn " + conn + "\n"
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+code, 0); err == nil {
		return whole + code
	}
	return whole + "func _() any {\n" + code + "\n}\n"
}
