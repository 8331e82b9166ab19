// Command hostile attacks a server of this library with hostile peers, and measures the effect on the server and on a
// well-behaved client. The server and the attackers are processes of their own.
//
//	go run ./hostile                # every scenario, 10 s each
//	go run ./hostile -run descr -d 1m
//
// Memory and descriptors must stay within limits, and after the attack everything must be as before. Then the same
// attack runs against a server over package net. No limits are checked for it. It shows how long the client has to wait
// on this machine in any case, and there is a limit on how much longer it may wait for the library. The exit status says
// whether all limits were kept. The tests do not check the last limit, because a busy machine could exceed it.
package main

// This file holds the command.

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

var roles = map[string]child.Role{victim.RoleName: victim.Role, attackerRole: attack}

func main() {
	child.Main(roles)
	d := flag.Duration("d", 10*time.Second, "how long each attack lasts")
	pattern := flag.String("run", "", "regular expression: the scenarios to run")
	output := flag.String("o", "", "file for the report, in Markdown; standard output if empty")
	flag.Parse()
	ok, err := command(*d, *pattern, *output)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// command runs the scenarios that match and writes the report. ok is false if a check has failed.
func command(d time.Duration, pattern, output string) (ok bool, err error) {
	chosen, err := regexp.Compile(pattern)
	if err != nil {
		return false, err
	}
	ok = true
	var results []comparison
	for _, s := range scenarios {
		if !chosen.MatchString(s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %d peers, %s\n", s.name, s.peers, s.what)
		r, err := s.compare(d)
		if err != nil {
			ok = false
			fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
		}
		results = append(results, r)
	}
	if output == "" {
		return ok, report(os.Stdout, results)
	}
	f, err := os.Create(output)
	if err != nil {
		return false, err
	}
	if err := report(f, results); err != nil {
		return false, err
	}
	return ok, f.Close()
}

// comparison is a scenario over the library and over package net.
type comparison struct {
	result
	plain   result
	allowed int // how many times as long as with plain the well-behaved client may wait
}

// compare runs s over the library and over package net.
func (s scenario) compare(d time.Duration) (c comparison, err error) {
	if c.result, err = s.run(s.peers, d); err != nil {
		return c, err
	}
	s.server.Plain = true
	c.plain, _ = s.run(s.peers, d) // its failures do not count
	c.allowed = cmp.Or(s.slowest, slowest)
	if slowed := c.slowed(c.plain); slowed > float64(c.allowed) {
		err = fmt.Errorf("%s: the well-behaved client waits %.1f times as long as with package net; the bound is %d",
			s.name, slowed, c.allowed)
	}
	return c, err
}

// report writes the tables.
func report(w io.Writer, results []comparison) error {
	var b strings.Builder
	b.WriteString("Memory and descriptors of the server: before → at most / the bound → afterwards.\n\n" +
		"| scenario | peers | heap, MiB | resident, MiB | descriptors | idle peer, bytes | goroutines, most" +
		" | as before after | log lines |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %d | %.1f → %.1f / %.0f → %.1f | %.0f → %.0f / %.0f → %.0f | %d → %d / %d → %d |"+
			" %s | %d | %v | %d |\n",
			r.Name, r.Peers,
			mebi(r.Before.Inside.Live), mebi(r.Peak.Heap), mebi(r.Bound.Heap), mebi(r.After.Inside.Live),
			mebi(r.Before.RSS), mebi(r.Peak.RSS), mebi(r.Bound.RSS), mebi(r.After.RSS),
			r.Before.Descriptors, r.Peak.Descriptors, r.Bound.Descriptors, r.After.Descriptors,
			number(r.Resting), r.Peak.Goroutines, r.Return.Round(10*time.Millisecond), r.LogLines)
	}
	b.WriteString("\nThe well-behaved client, and arrivals during the attack.\n\n")
	fmt.Fprintf(&b, "| scenario | p99 calm, ms | attacked | package net, attacked | factor / bound | most | after"+
		" | arrivals served | not served | their p99 | server's processors | the attack |\n"+
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.1f / %d | %s | %s | %d | %d | %s | %.2f | %s |\n", r.Name, ms(r.CalmP99),
			ms(r.AttackP99), ms(r.plain.AttackP99), r.slowed(r.plain), r.allowed, ms(r.AttackMax), ms(r.AfterP99),
			r.ArrivalsServed, r.ArrivalsFailed, ms(r.ArrivalsP99), r.CPU, counts(r.Counts))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func mebi(n int64) float64 { return float64(n) / mib }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// counts lists the counters that are not zero.
func counts(m map[string]int64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] != 0 {
			list = append(list, fmt.Sprintf("%d %s", m[name], name))
		}
	}
	return strings.Join(list, ", ")
}
