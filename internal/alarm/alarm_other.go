//go:build !linux || kqsim

package alarm

import "time"

// New makes an alarm of a timer of the Go runtime. So does Linux where it stands in for the BSDs in tests.
func New(ring func() (again time.Duration)) Alarm { return newTimer(ring) }
