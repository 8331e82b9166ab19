package report

// This file holds the report on where servers spend their time.

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cloudwego/netpoll/bench/internal/run"
)

// rare is a limit: system calls that a server makes less often than this per request are left out.
const rare = 0.02

// Explanations returns a table of system calls, followed by the profiles.
func Explanations(about About, list []run.Explanation) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s. 100 connections, 1 KiB.\n\nSystem calls for each request:\n\n", about.Machine)
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
