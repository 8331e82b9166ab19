package netpoll

// This file fuzzes the life of a connection against a model: a table that says for each move in which phases, and with
// which flags, it happens, and what it does. The model knows flags by their names and parties by a list, and nothing of
// bits or counts. Programs only do what the rules of the word allow: no party leaves that has not entered.

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzConnectionState runs a program of moves on a word and on the model.
func FuzzConnectionState(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomProgram(seed, 200))
	}
	f.Fuzz(runLife)
}

// TestConnectionStateAgreesWithModel runs many programs, because a life is short.
func TestConnectionStateAgreesWithModel(t *testing.T) {
	reached := map[string]int{}
	for seed := range uint64(200) {
		runCounting(t, randomProgram(seed, 400), reached)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	expected := strings.Fields("enter=entered enter=busy enter=shut use=entered use=busy use=shut read=entered read=busy " +
		"read=shut setUp=entered setUp=shut clear clearNotified noteError=true noteError=false")
	for _, move := range strings.Fields("leave leaveSelf peerClosed close startTask addPending pendingDone sendReturned") {
		expected = append(expected, move+"=true", move+"=false")
	}
	for _, rule := range lifeRules {
		expected = append(expected, rule.name+"=true", rule.name+"=false")
	}
	for _, flag := range settable {
		expected = append(expected, "set "+flag)
	}
	for _, outcome := range expected {
		require.NotZero(t, reached[outcome], "no program has reached %s, but: %v", outcome, reached)
	}
}

// lifeFlags are the names of the flags, in the order of the table in connection_state.go.
var lifeFlags = strings.Fields("peerClosed ended reading producing flushing sending inPoll " +
	"running notified connected disconnected disconnecting pending sendFailed sendInFlight eofHeld readShut writeShut")

// settable are those that no move of its own guards.
var settable = strings.Fields("connected sendFailed sendInFlight readShut writeShut")

// lifeFlag returns the bits that go by these names.
func lifeFlag(names string) (b lifeBits) {
	for name := range strings.FieldsSeq(names) {
		b |= bitPeerClosed << slices.Index(lifeFlags, name)
	}
	return b
}

// lifeModel is the expected state of a word.
type lifeModel struct {
	phase   string
	cause   string
	errno   syscall.Errno
	flags   map[string]bool
	inside  []string // the parties: what each of them owns
	pending bool     // output is, which is a party too
	alive   bool     // and so is the connection, until it is closed and has left for itself
	toLeave bool     // it is closed, and has to leave
	ends    int      // how often a party was the last one
}

// String is the text that the word must have.
func (m *lifeModel) String() string {
	s := fmt.Sprintf("%s refs=%d", m.phase, m.parties())
	if m.cause != "" {
		s += " cause=" + m.cause
	}
	if m.errno != 0 {
		s += fmt.Sprintf(" errno=%v", m.errno)
	}
	for _, name := range lifeFlags {
		if m.flags[name] {
			s += " " + name
		}
	}
	return s
}

func (m *lifeModel) parties() (n int) {
	n = len(m.inside)
	if m.alive {
		n++
	}
	if m.pending {
		n++
	}
	return n
}

// is reports whether all of names are set.
func (m *lifeModel) is(names string) bool {
	for name := range strings.FieldsSeq(names) {
		if !m.flags[name] {
			return false
		}
	}
	return true
}

// any reports whether one of names is set.
func (m *lifeModel) any(names string) bool {
	for name := range strings.FieldsSeq(names) {
		if m.flags[name] {
			return true
		}
	}
	return false
}

func (m *lifeModel) set(names string, to bool) {
	for name := range strings.FieldsSeq(names) {
		m.flags[name] = to
	}
}

// phaseIn reports whether the phase is one of list.
func (m *lifeModel) phaseIn(list string) bool {
	return slices.Contains(strings.Split(list, ","), m.phase)
}

const (
	untilPeerDone = "opening,open,peer done"
	untilClosing  = "opening,open,peer done,closing"
	untilClosed   = "opening,open,peer done,closing,released,closed"
)

// lifeRule is a move without an argument: it happens if all of this holds, and then does all of that.
type lifeRule struct {
	name       string
	move       func(l *lifeWord) bool
	phases     string // in which it happens
	need, lack string // flags that must be set, and of which none must be
	set, clear string // flags that it changes
	to         string // the next phase, or none
	enters     string // it is a new party that owns these; "-" for none
}

var lifeRules = []lifeRule{
	{name: "open", move: (*lifeWord).open, phases: "opening", to: "open"},
	{name: "enterSending", move: (*lifeWord).enterSending, phases: untilClosed, need: "pending",
		lack: "flushing sending", set: "sending", enters: "sending"},
	{name: "clearConnected", move: (*lifeWord).clearConnected, phases: untilPeerDone, need: "connected",
		lack: "disconnected", clear: "connected"},
	{name: "claimDisconnect", move: (*lifeWord).claimDisconnect, phases: untilClosing, need: "peerClosed connected",
		lack: "disconnected", set: "disconnected disconnecting", enters: "disconnecting"},
	{name: "holdEOF", move: (*lifeWord).holdEOF, phases: untilClosed, need: "sendInFlight", set: "eofHeld"},
	{name: "endReading", move: (*lifeWord).endReading, phases: "released", lack: "reading", to: "closed"},
	{name: "endTask", move: (*lifeWord).endTask, phases: untilClosed, lack: "notified", clear: "running"},
}

// lifeRun is a program with the word and the model.
type lifeRun struct {
	machine
	word  lifeWord
	model lifeModel
	trace []string

	reached map[string]int // how often each move has had each outcome
}

func runLife(t *testing.T, program []byte) { runCounting(t, program, map[string]int{}) }

func runCounting(t *testing.T, program []byte, reached map[string]int) {
	v := &lifeRun{machine: machine{t: t, program: program}, reached: reached}
	connected := v.arg()%2 == 0
	v.word.begin(connected)
	v.model = lifeModel{phase: "opening", alive: true, flags: map[string]bool{"connected": connected}}
	for len(v.program) > 0 && !t.Failed() {
		lifeMoves[v.arg()%len(lifeMoves)](v)
		v.compare()
	}
	v.close("user", true)
	if v.model.toLeave {
		v.leaveSelf()
	}
	if v.model.pending {
		v.model.inside = append(v.model.inside, "") // who pays is inside
		v.word.enter(0, phaseClosed)
		v.pay(true)
	}
	for len(v.model.inside) > 0 && !t.Failed() {
		v.leave(0)
	}
	v.compare()
	if !v.model.phaseIn("released,closed") || v.model.ends != 1 || v.word.load().refs() != 0 {
		v.fail("at the end %v was released %d times", &v.model, v.model.ends)
	}
}

func (v *lifeRun) fail(format string, args ...any) {
	v.t.Errorf("%s\nafter %s", fmt.Sprintf(format, args...), strings.Join(v.trace, ", "))
}

func (v *lifeRun) compare() {
	if got, want := v.word.load().String(), v.model.String(); got != want {
		v.fail("the word says %q, the model %q", got, want)
	}
}

// did notes a move that returns nothing.
func (v *lifeRun) did(what string) {
	v.reached[what]++
	v.trace = append(v.trace, what)
}

// answers compares the results of a move. what may have its arguments behind the name.
func (v *lifeRun) answers(what string, got, want any) {
	move, _, _ := strings.Cut(what, "(")
	v.reached[fmt.Sprintf("%s=%v", move, got)]++
	v.trace = append(v.trace, fmt.Sprintf("%s=%v", what, got))
	if got != want {
		v.fail("%s says %v, the model %v", what, got, want)
	}
}

var lifeMoves = []func(*lifeRun){
	func(v *lifeRun) { v.apply(lifeRules[v.arg()%(len(lifeRules)-1)]) },
	func(v *lifeRun) { v.apply(lifeRules[0]) },
	func(v *lifeRun) { v.enter(v.arg(), v.arg()) },
	func(v *lifeRun) { v.enter(v.arg(), v.arg()) },
	func(v *lifeRun) {
		if n := len(v.model.inside); n > 0 {
			v.leave(v.arg() % n)
		}
	},
	func(v *lifeRun) {
		if n := len(v.model.inside); n > 0 {
			v.leave(v.arg() % n)
		}
	},
	func(v *lifeRun) { v.peerClosed(v.arg()) },
	func(v *lifeRun) {
		if v.arg()%8 == 0 { // seldom, or all lives are short
			v.close([...]string{"user", "peer", "detach", "server", "idle", "panic", "poller"}[v.arg()%7], v.arg()%4 > 0)
		}
	},
	func(v *lifeRun) {
		if v.model.toLeave {
			v.leaveSelf()
		}
	},
	func(v *lifeRun) { v.addPending() },
	func(v *lifeRun) {
		if len(v.model.inside) > 0 {
			v.pay(v.arg()%3 > 0)
		}
	},
	func(v *lifeRun) { v.startTask() },
	func(v *lifeRun) {
		if i := slices.Index(v.model.inside, "running"); i >= 0 && v.apply(lifeRules[len(lifeRules)-1]) {
			v.model.inside[i] = "" // it still has to leave
		}
	},
	func(v *lifeRun) {
		v.word.clearNotified()
		v.model.set("notified", false)
		v.did("clearNotified")
	},
	func(v *lifeRun) {
		flag := settable[v.arg()%len(settable)]
		v.word.set(lifeFlag(flag))
		v.model.set(flag, true)
		v.did("set " + flag)
	},
	func(v *lifeRun) { v.clear() },
	func(v *lifeRun) {
		v.answers("sendReturned", v.word.sendReturned(), v.model.is("eofHeld"))
		v.model.set("sendInFlight eofHeld", false)
	},
	func(v *lifeRun) { v.noteError([...]syscall.Errno{0, syscall.ECONNRESET, syscall.EPIPE}[v.arg()%3]) },
}

// apply makes the move of a rule.
func (v *lifeRun) apply(r lifeRule) (ok bool) {
	m := &v.model
	ok = m.phaseIn(r.phases) && m.is(r.need) && !m.any(r.lack)
	v.answers(r.name, r.move(&v.word), ok)
	if !ok {
		return false
	}
	m.set(r.set, true)
	m.set(r.clear, false)
	if r.to != "" {
		m.phase = r.to
	}
	if r.enters != "" {
		m.inside = append(m.inside, strings.Trim(r.enters, "-"))
	}
	return true
}

// enter asks for some sides, up to some phase: by enter itself, or by one of its short forms.
func (v *lifeRun) enter(sides, last int) {
	own := [...]string{"", "reading", "producing", "flushing", "producing flushing", "inPoll"}[sides%6]
	phases := []string{"opening", "open", "peer done", "closing", "released", "closed"}
	last %= len(phases) + 3
	move := func() entry { return v.word.enter(lifeFlag(own), phase(last)) }
	what := fmt.Sprintf("enter(%s, %d)", own, last)
	switch last - len(phases) {
	case 0:
		what, last, move = "use("+own+")", 2, func() entry { return v.word.use(lifeFlag(own)) }
	case 1:
		what, last, own, move = "read()", 4, "reading", v.word.read
	case 2:
		what, last, own, move = "setUp()", 0, "", v.word.setUp
	}
	m := &v.model
	want := "entered"
	switch at := slices.Index(phases, m.phase); {
	case at > last:
		want = "shut"
	case m.any(own):
		want = "busy"
	}
	v.answers(what, [...]string{"entered", "busy", "shut"}[move()], want)
	if want == "entered" {
		m.set(own, true)
		m.inside = append(m.inside, own)
	}
}

// leave makes a party leave.
func (v *lifeRun) leave(i int) {
	m := &v.model
	own := m.inside[i]
	m.inside = slices.Delete(m.inside, i, i+1)
	m.set(own, false)
	v.answers(fmt.Sprintf("leave(%s)", own), v.word.leave(lifeFlag(own)), v.wasLast())
}

// leaveSelf makes the connection leave for itself, when it is closed.
func (v *lifeRun) leaveSelf() {
	v.model.alive, v.model.toLeave = false, false
	v.answers("leaveSelf", v.word.leave(0), v.wasLast())
}

// wasLast moves the model to released if no party is left.
func (v *lifeRun) wasLast() bool {
	m := &v.model
	if m.parties() > 0 || m.phase != "closing" {
		return false
	}
	m.phase = "released"
	m.ends++
	return true
}

// clear gives up what one party owns, in part.
func (v *lifeRun) clear() {
	for i, own := range v.model.inside {
		if first, rest, ok := strings.Cut(own, " "); ok {
			v.word.clear(lifeFlag(first))
			v.model.set(first, false)
			v.model.inside[i] = rest
			v.did("clear")
			return
		}
	}
}

func (v *lifeRun) peerClosed(arg int) {
	m := &v.model
	errno := [...]syscall.Errno{0, 0, syscall.ECONNRESET, syscall.EPIPE}[arg&3]
	ended, disconnect := arg&4 != 0, arg&8 != 0
	claims := false
	if m.phaseIn(untilPeerDone) {
		if !m.is("ended") && m.errno == 0 {
			m.errno = errno
		}
		if ended {
			m.set("ended", true)
		}
		if m.phase == "open" {
			m.phase = "peer done"
			m.set("peerClosed", true)
		}
		if claims = disconnect && m.is("peerClosed connected") && !m.is("disconnected"); claims {
			m.set("disconnected disconnecting", true)
			m.inside = append(m.inside, "disconnecting")
		}
	}
	claimed := v.word.peerClosed(errno, ended, disconnect)
	v.answers(fmt.Sprintf("peerClosed(%d, %t, %t)", errno, ended, disconnect), claimed, claims)
}

func (v *lifeRun) noteError(errno syscall.Errno) {
	m := &v.model
	before := m.errno
	if m.phaseIn(untilPeerDone) && !m.is("ended") && m.errno == 0 {
		m.errno = errno
	}
	v.word.noteError(errno)
	v.did(fmt.Sprintf("noteError=%t", m.errno != before))
}

func (v *lifeRun) close(why string, cond bool) {
	causes := map[string]cause{"user": causeUser, "peer": causePeer, "detach": causeDetach, "server": causeServer,
		"idle": causeIdle, "panic": causePanic, "poller": causePoller}
	m := &v.model
	want := m.phaseIn(untilPeerDone) && cond
	_, ok := v.word.closeIf(causes[why], func(lifeBits) bool { return cond })
	v.answers("close("+why+")", ok, want)
	if want {
		m.phase, m.cause, m.toLeave = "closing", why, true
	}
}

// addPending turns a Flush into a pending output.
func (v *lifeRun) addPending() {
	m := &v.model
	i := slices.Index(m.inside, "producing flushing")
	if i < 0 {
		return
	}
	want := m.phase == "open" && !m.any("writeShut sendFailed")
	v.answers("addPending", v.word.addPending(lifeFlag("producing flushing")), want)
	if want {
		m.inside = slices.Delete(m.inside, i, i+1)
		m.set("producing flushing", false)
		m.set("pending", true)
		m.pending = true
	}
}

// pay ends the pending output. Who does so is inside.
func (v *lifeRun) pay(cond bool) {
	m := &v.model
	want := m.pending && cond
	_, ok := v.word.pendingDone(func() bool { return cond })
	v.answers("pendingDone", ok, want)
	if want {
		m.set("pending", false)
		m.pending = false
	}
}

func (v *lifeRun) startTask() {
	m := &v.model
	want := !m.is("running") && m.phaseIn(untilPeerDone)
	v.answers("startTask", v.word.startTask(), want)
	switch {
	case m.is("running"):
		m.set("notified", true)
	case want:
		m.set("running", true)
		m.inside = append(m.inside, "running")
	}
}
