package netpoll

// This file holds whether work on many datagrams of one peer is left to the system: cutting what is sent into datagrams
// (GSO), and joining those that arrive (GRO).

import (
	"errors"
	"os"
	"sync"

	"github.com/cloudwego/netpoll/internal/sock"
)

var (
	// ErrGSOOff is why WriteBatch does not use GSO where the environment variable NETPOLL_GSO says so.
	ErrGSOOff = errors.New("netpoll: gso is switched off")
	// ErrGROOff is why a [PacketLoop] does not use GRO where the environment variable NETPOLL_GRO says so.
	ErrGROOff = errors.New("netpoll: gro is switched off")
)

// errGSOBroken is why GSO is not used unless an operator demands it.
var errGSOBroken = errors.New("netpoll: gso of this kernel is broken")

// The offloads of the process.
var (
	defaultGSO = newOffloadPolicy("NETPOLL_GSO", os.Getenv("NETPOLL_GSO"), ErrGSOOff, probeSegments, brokenGSO)
	defaultGRO = newOffloadPolicy("NETPOLL_GRO", os.Getenv("NETPOLL_GRO"), ErrGROOff, probeCoalesce, nil)
)

// offloadPolicy says whether an offload is used. refusal returns why it is not, or nil; it tries it out once.
type offloadPolicy struct{ refusal func() error }

// newOffloadPolicy makes the policy for what an operator has set, one of auto, on and off. It logs another value. broken,
// if it is not nil, returns why the offload of a kernel shall be used only if it is on.
func newOffloadPolicy(variable, operator string, off error, probe func() error,
	broken func(release string) error) *offloadPolicy {
	switch operator {
	case "", "auto", "on", "off":
	default:
		logger().Printf("netpoll: %s is %q, not one of auto, on, off: ignored", variable, operator)
	}
	return &offloadPolicy{sync.OnceValue(func() error {
		if operator == "off" {
			return off
		}
		if err := probe(); err != nil {
			return err
		}
		if operator != "on" && broken != nil {
			return broken(sock.KernelRelease())
		}
		return nil
	})}
}

// brokenGSO returns an error for kernels that send wrong datagrams: 6.6.44 refuses a short last one, and 7.0 up to 7.1.4
// write wrong headers.
func brokenGSO(release string) error {
	v := sock.KernelVersion(release)
	switch {
	case v == [3]int{6, 6, 44}:
	case v[0] == 7 && (v[1] == 0 || v[1] == 1 && v[2] <= 4):
	default:
		return nil
	}
	return errGSOBroken
}
