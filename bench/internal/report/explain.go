package report

// This file holds the report on where servers spend their time.

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudwego/netpoll/bench/internal/run"
)

// rare is a limit: system calls that a server makes less often than this per request are left out.
const rare = 0.02

// Explanations returns tables of system calls, followed by the profiles.
func Explanations(about About, list []run.Explanation, locals []run.LocalCalls) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s.\n\n", about.Machine)
	if len(locals) > 0 {
		localCalls(&b, locals)
	}
	if len(list) == 0 {
		return b.Bytes()
	}
	b.WriteString("100 connections, 1 KiB. System calls for each request:\n\n")
	names := callNames(list)
	b.WriteString("| subject |")
	for _, n := range names {
		fmt.Fprintf(&b, " %s |", n)
	}
	b.WriteString("\n|---|" + string(bytes.Repeat([]byte("--:|"), len(names))) + "\n")
	for _, e := range list {
		fmt.Fprintf(&b, "| %s |", e.Subject)
		for _, n := range names {
			fmt.Fprintf(&b, " %s |", calls(e, n))
		}
		b.WriteByte('\n')
	}
	for _, e := range list {
		fmt.Fprintf(&b, "\nProfile of %s:\n\n```\n%s\n```\n", e.Subject, bytes.TrimRight([]byte(e.Profile), "\n"))
	}
	return b.Bytes()
}

// rareLocal is the same for one side of a connection. Few messages are sent under strace, and what a process does when it
// begins and ends counts.
const rareLocal = 0.2

// localCalls writes a table of those of shared memory and Unix sockets.
func localCalls(b *bytes.Buffer, list []run.LocalCalls) {
	b.WriteString("System calls for each message over shared memory and Unix sockets, of both sides:\n\n")
	b.WriteString("| scenario | subject | server | client | which |\n|---|---|--:|--:|---|\n")
	sum := func(calls []run.SystemCall) (n float64) {
		for _, c := range calls {
			n += c.PerRequest
		}
		return n
	}
	for _, c := range list {
		which := ""
		for _, side := range []struct {
			name  string
			calls []run.SystemCall
		}{{"server", c.Server}, {"client", c.Client}} {
			for _, call := range side.calls {
				if call.PerRequest >= rareLocal {
					which += fmt.Sprintf(", %s %s %.3f", side.name, call.Name, call.PerRequest)
				}
			}
		}
		fmt.Fprintf(b, "| %s | %s | %.3f | %.3f | %s |\n", c.Scenario, c.Subject, sum(c.Server), sum(c.Client),
			strings.TrimPrefix(which, ", "))
	}
	b.WriteByte('\n')
}

// callNames returns the system calls that at least one subject makes often enough.
func callNames(list []run.Explanation) (names []string) {
	for _, e := range list {
		for _, c := range e.Calls {
			if c.PerRequest >= rare && !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	return names
}

func calls(e run.Explanation, name string) string {
	for _, c := range e.Calls {
		if c.Name == name && c.PerRequest >= rare {
			return fmt.Sprintf("%.3f", c.PerRequest)
		}
	}
	return ""
}
