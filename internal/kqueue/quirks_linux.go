package kqueue

// This file holds the behaviours that the model can have: that of one of the systems, or a more awkward one.

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// Quirks selects where the kernels disagree with one another.
type Quirks struct {
	StripActionFlags bool // FreeBSD: Add, Enable and their like do not come back with events
	NoUser           bool // NetBSD before 10, older OpenBSD: there is no user filter
	EnableNoReeval   bool // NetBSD 7.99: Enable does not look at the condition again
	UdataOnlyOnAdd   bool // NetBSD 7.99: only Add replaces Udata
	UserTriggerUdata bool // FreeBSD: a trigger replaces Udata too
	UserClearCancels bool // FreeBSD: a trigger that carries Clear cancels itself
}

// Chaos makes the model nastier than any kernel, but no kernel is forbidden to do this. A count of 0 means never.
type Chaos struct {
	InterruptEvery int  // every n-th Wait fails with EINTR
	MaxEvents      int  // a Wait never returns more than this
	Reverse        bool // events come in the opposite order
	// SpuriousEvery: every n-th Wait that has room also returns an event whose condition does not hold. Kernels do
	// that: a one-shot event is not checked again when it is delivered, every acknowledgement is an edge for Write, and
	// another thread may have drained the socket.
	SpuriousEvery int
}

// Behaviour is the sum of all settings of the model.
type Behaviour struct {
	Quirks Quirks
	Chaos  Chaos
}

// systems are the behaviours that have a name. Those of macOS, OpenBSD and DragonFly BSD follow from their sources and
// manuals; those of FreeBSD and NetBSD are held to recordings by TestModelAgreesWithKernels.
var systems = map[string]Behaviour{
	"plain":     {},
	"darwin":    {},
	"freebsd":   {Quirks: freeBSD},
	"dragonfly": {Quirks: freeBSD},
	"netbsd":    {Quirks: netBSD},
	"openbsd":   {Quirks: Quirks{NoUser: true}},
}

var (
	freeBSD = Quirks{StripActionFlags: true, UserTriggerUdata: true, UserClearCancels: true}
	netBSD  = Quirks{NoUser: true, EnableNoReeval: true, UdataOnlyOnAdd: true}
	chaotic = Chaos{InterruptEvery: 3, MaxEvents: 2, Reverse: true, SpuriousEvery: 2}
)

// Variable is the environment variable for the behaviour of the model: the name of a system, "chaos", or both with a
// comma between them. Without it the model is plain.
const Variable = "NETPOLL_KQUEUE"

// behaviour is that of new kqueues, if it was set. Written by SetBehaviour.
var behaviour atomic.Pointer[Behaviour]

// fromEnvironment is their behaviour otherwise. It is not read when the program starts: go test would not see that the
// outcome depends on it.
var fromEnvironment = sync.OnceValue(func() Behaviour {
	b, err := ParseBehaviour(os.Getenv(Variable))
	if err != nil {
		panic(err)
	}
	return b
})

// CurrentBehaviour returns the behaviour of new kqueues.
func CurrentBehaviour() Behaviour {
	if b := behaviour.Load(); b != nil {
		return *b
	}
	return fromEnvironment()
}

// ParseBehaviour parses a value of [Variable].
func ParseBehaviour(s string) (b Behaviour, err error) {
	for word := range strings.SplitSeq(s, ",") {
		switch system, ok := systems[word]; {
		case word == "":
		case word == "chaos":
			b.Chaos = chaotic
		case ok:
			b.Quirks = system.Quirks
		default:
			return b, fmt.Errorf("%s: unknown word %q", Variable, word)
		}
	}
	return b, nil
}

// SetBehaviour sets the behaviour of kqueues that are made from now on, and returns the one before.
func SetBehaviour(b Behaviour) (old Behaviour) {
	old = CurrentBehaviour()
	behaviour.Store(&b)
	return old
}
