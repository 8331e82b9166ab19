package run

// This file holds the result of one run of one subject under one scenario.

import "time"

// Sample is the result of one run, and one line of the raw results. Times are in microseconds unless the name says
// otherwise. Shares are of one processor.
type Sample struct {
	Scenario string
	Group    string
	Subject  string
	Rep      int
	At       time.Time

	Offered    float64 `json:",omitempty"` // requests per second, in an open loop
	Requests   int
	Throughput float64 // requests per second
	P50        float64
	P90        float64
	P99        float64
	P999       float64
	Max        float64
	LagP99     float64 `json:",omitempty"` // how late the generator sent requests
	Unanswered int     `json:",omitempty"`

	CPU         float64 // of the measured process, per request
	UserShare   float64 // share of CPU that was not in the kernel
	Used        float64 // processors that the measured process used
	ServerUsed  float64 `json:",omitempty"` // if a client is measured: processors that its server used
	Switches    float64 // context switches per request
	Allocs      float64 // objects per request
	AllocBytes  float64 // bytes per request
	Collections int64
	PauseMax    float64 // longest stop for the garbage collector
	RSS         int64   // bytes, after the run and a garbage collection, connections still open
	PeakRSS     int64
	Heap        int64 // bytes of objects and stacks, at the same time as RSS
	Goroutines  int64 // at the same time as RSS

	PerConnRSS  float64 `json:",omitempty"` // bytes for each idle connection
	PerConnHeap float64 `json:",omitempty"` // objects and stacks, in bytes

	ClientCPU  float64 // share that the generator used
	ClientBusy float64 // share of the time in which the generator had something to do
	Other      float64 // share that other processes on the machine used
	Stolen     float64 // share that other machines took
	SharedCPU  bool    `json:",omitempty"` // generator and server had to share a processor
	Disturbed  bool    `json:",omitempty"` // Other or Stolen is too much to trust the figures
	Repeated   int     `json:",omitempty"` // how many disturbed runs this one replaces
}

// disturbance is how much of a processor others may use before a run counts as disturbed. The use of the whole machine
// is counted in ticks of 10 ms, so a much smaller use cannot be measured.
const disturbance = 0.06

// micros converts nanoseconds to microseconds.
func micros(ns int64) float64 { return float64(ns) / 1e3 }
