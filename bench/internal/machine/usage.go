package machine

// This file holds the use of the whole machine. A run that others disturbed is recognised by it.

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Usage is the processor time used since the system started, by all processors together.
type Usage struct {
	Busy   time.Duration // by anything, guests of this machine and interrupts included
	Stolen time.Duration // by other machines on the same hardware
}

// tick is the unit of /proc/stat.
const tick = 10 * time.Millisecond

// ReadUsage reads the use of the machine. The resolution is 10 ms for each processor.
func ReadUsage() (Usage, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Usage{}, fmt.Errorf("processor use: %w", err)
	}
	return parseUsage(text)
}

// parseUsage reads the first line: cpu user nice system idle iowait irq softirq steal guest guest_nice.
func parseUsage(text []byte) (u Usage, err error) {
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return u, fmt.Errorf("processor use: unexpected line %q", line)
	}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return u, fmt.Errorf("processor use: %w", err)
		}
		switch i {
		case 3, 4: // idle, iowait
		case 7:
			u.Stolen = time.Duration(n) * tick
		default:
			u.Busy += time.Duration(n) * tick
		}
	}
	return u, nil
}
