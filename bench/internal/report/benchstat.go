package report

// This file writes results in the format that benchstat reads.

import (
	"fmt"
	"io"
	"strings"

	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/run"
)

// Benchstat writes each sample as a line of a Go benchmark. The subject is the value of the key "lib", so
//
//	benchstat -col /lib file
//
// compares the subjects.
func Benchstat(w io.Writer, about machine.Description, samples []run.Sample) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: linux\ngoarch: %s\npkg: github.com/cloudwego/netpoll/bench\ncpu: %s\n", about.Arch, about.Model)
	for _, s := range samples {
		kind, rest, _ := strings.Cut(s.Scenario, "/")
		fmt.Fprintf(&b, "Benchmark%s/%s/lib=%s", strings.ToUpper(kind[:1])+kind[1:], rest, s.Subject)
		if s.Throughput == 0 {
			fmt.Fprintf(&b, " 1 %.0f B/conn %.0f RSS-bytes %.5f CPU\n", s.PerConnHeap, float64(s.RSS), s.Used)
			continue
		}
		fmt.Fprintf(&b, " %d %.1f ns/op %.1f req/s %.1f p50-µs %.1f p99-µs %.3f CPU-µs/op %.3f allocs/op %.1f B/op\n",
			s.Requests, 1e9/s.Throughput, s.Throughput, s.P50, s.P99, s.CPU, s.Allocs, s.AllocBytes)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
