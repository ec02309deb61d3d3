//go:build wasip1

package whimbrel

import (
	"fmt"
	"runtime"
	"strings"
)

// Transform is a plugin that changes, drops or refuses events.
type Transform interface {
	// Configure is called once, before any batch, with the configuration as JSON.
	Configure(config []byte) error
	// Apply is called with each batch. An error undoes what it wrote and makes the agent offer the events one by one.
	Apply(batch *Batch) error
}

var plugin Transform

// Export makes this the plugin. Call it from an init function: main is never run.
func Export(transform Transform) { plugin = transform }

//go:wasmexport whimbrel:plugin/lifecycle@0.1.0#configure
func configure(config, length uint32) *result {
	defer report()
	// A copy, for the plugin may keep it.
	return answered(plugin.Configure(append([]byte(nil), slice[byte](config, length)...)))
}

//go:wasmexport whimbrel:plugin/transform@0.1.0#apply
func apply(batch int32) *result {
	defer report()
	err := plugin.Apply(&Batch{handle: batch})
	// The batch is only lent.
	batchDrop(batch)
	return answered(err)
}

// report tells the agent what a panic said and where it was, and lets it go on: it ends in a trap.
func report() {
	cause := recover()
	if cause == nil {
		return
	}
	file, line := "", 0
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			file, line = frame.File, frame.Line
			break
		}
		if !more {
			break
		}
	}
	logPanicked(fmt.Sprint(cause), file, uint32(line))
	panic(cause)
}

//go:wasmimport whimbrel:plugin/host-log@0.1.0 panicked
func logPanicked(message string, file string, line uint32)
