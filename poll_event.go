package netpoll

// This file holds the words in which a poller, or a transport that does without one, tells what happened, and is told
// what to look for.

// pollEvent is a set of things that a descriptor can be watched for, or that happened to it.
type pollEvent uint8

const (
	evRead  pollEvent = 1 << iota // there is something to receive
	evWrite                       // there is room to send
	evHup                         // the peer has ended its side
	evErr                         // both sides are over, or there is an error; always reported
	evLost                        // the poller failed; nothing will be reported again
)

// pollHandler is told what happened to a watched descriptor.
type pollHandler interface {
	// onPoll runs on the poll goroutine and must neither block nor run the user's code. What it leaves undone is
	// reported again in the next batch, as long as the descriptor is watched for it.
	onPoll(ev pollEvent)
}

// interestSource knows what its descriptor has to be watched for now.
type interestSource interface {
	interest() pollEvent
}
