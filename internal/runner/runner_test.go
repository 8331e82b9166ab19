package runner

// Tests of the replaceable runner and of panic reporting. They change process-wide state, so none runs in parallel and
// each restores the default.

import (
	"bytes"
	"context"
	"log"
	"sync"
	"testing"
	"time"

	"github.com/bytedance/gopkg/util/gopool"
	"github.com/stretchr/testify/require"
)

const patience = 10 * time.Second

type ctxKey struct{}

// restoreDefaults puts the default runner and panic report back at the end of t.
func restoreDefaults(t *testing.T) {
	t.Cleanup(func() {
		Set(nil)
		OnPanic(nil)
	})
}

// await fails t when done is not closed in time.
func await(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("no sign of " + what)
	}
}

// Behaviour 6.6: the default is the pool, and SetRunner replaces it.
func TestTaskRunsInEveryKindOfRunner(t *testing.T) {
	cases := []struct {
		name string
		use  func()
	}{
		{"default pool", func() { Set(nil) }},
		{"goroutines", UseGoroutines},
		{"own runner", func() { Set(func(_ context.Context, f func()) { go f() }) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			restoreDefaults(t)
			c.use()
			gate, done := make(chan struct{}), make(chan struct{})
			Run(context.Background(), func() {
				<-gate
				close(done)
			})
			// Run has returned although the task cannot end before this.
			close(gate)
			await(t, done, "the task")
		})
	}
}

func TestDefaultRunnerIsTheSharedPool(t *testing.T) {
	restoreDefaults(t)
	gate, entered, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	Run(context.Background(), func() {
		close(entered)
		<-gate
		close(done)
	})
	await(t, entered, "the task")
	require.Positive(t, gopool.WorkerCount(), "the blocked task is not a worker of the pool")
	close(gate)
	await(t, done, "the task's end")
}

func TestRunnerIsGivenTheContextAndNeverNil(t *testing.T) {
	restoreDefaults(t)
	var got context.Context
	Set(func(ctx context.Context, f func()) {
		got = ctx
		f()
	})
	ran := 0
	Run(context.WithValue(context.Background(), ctxKey{}, "v"), func() { ran++ })
	require.Equal(t, "v", got.Value(ctxKey{}))
	//lint:ignore SA1012 a nil context is the case under test
	Run(nil, func() { ran++ })
	require.Equal(t, context.Background(), got)
	require.Equal(t, 2, ran)
}

func TestSetReplacesTheEarlierRunner(t *testing.T) {
	restoreDefaults(t)
	var calls []string
	named := func(name string) Func {
		return func(_ context.Context, f func()) {
			calls = append(calls, name)
			f()
		}
	}
	for _, name := range []string{"first", "second"} {
		Set(named(name))
		Run(context.Background(), func() {})
	}
	require.Equal(t, []string{"first", "second"}, calls)
}

// Behaviour 6.6: SetRunner and DisableGopool are safe at any time.
func TestRunnerMayChangeWhileTasksStart(t *testing.T) {
	restoreDefaults(t)
	const callers, tasks = 4, 200
	var ran, started sync.WaitGroup
	ran.Add(callers * tasks)
	stop := make(chan struct{})
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for {
			select {
			case <-stop:
				return
			default:
				Set(func(_ context.Context, f func()) { go f() })
				UseGoroutines()
				OnPanic(func(context.Context, any, []byte) {})
				Set(nil)
			}
		}
	}()
	for range callers {
		started.Go(func() {
			for range tasks {
				Run(context.Background(), ran.Done)
			}
		})
	}
	started.Wait()
	close(stop)
	<-changed
	ran.Wait()
}

// Behaviour 5.7: a panic is reported and the process lives on, without the pool too.
func TestPanicOnAGoroutineIsReported(t *testing.T) {
	restoreDefaults(t)
	type report struct {
		ctx   context.Context
		value any
		stack []byte
	}
	reports := make(chan report, 1)
	OnPanic(func(ctx context.Context, value any, stack []byte) { reports <- report{ctx, value, stack} })
	UseGoroutines()
	Run(context.WithValue(context.Background(), ctxKey{}, "v"), panickingTask)
	select {
	case r := <-reports:
		require.Equal(t, "boom", r.value)
		require.Equal(t, "v", r.ctx.Value(ctxKey{}))
		require.Contains(t, string(r.stack), "panickingTask", "the stack does not show where the panic came from")
	case <-time.After(patience):
		t.Fatal("the panic was not reported")
	}
}

func panickingTask() { panic("boom") }

func TestPanicGoesToTheStandardLoggerByDefault(t *testing.T) {
	restoreDefaults(t)
	var out bytes.Buffer
	before := log.Writer()
	log.SetOutput(&out)
	t.Cleanup(func() { log.SetOutput(before) })
	//lint:ignore SA1012 a nil context is the case under test
	Panicked(nil, "boom")
	require.Contains(t, out.String(), "boom")
	require.Contains(t, out.String(), "TestPanicGoesToTheStandardLoggerByDefault")
}

func BenchmarkRun(b *testing.B) {
	cases := []struct {
		name string
		use  func()
	}{
		{"runner=gopool", func() { Set(nil) }},
		{"runner=goroutines", UseGoroutines},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			c.use()
			b.Cleanup(func() { Set(nil) })
			b.ReportAllocs()
			done := make(chan struct{})
			task := func() { done <- struct{}{} }
			for b.Loop() {
				Run(context.Background(), task)
				<-done
			}
		})
	}
}
