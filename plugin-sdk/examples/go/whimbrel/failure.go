// Package whimbrel binds Go to the world `event-transform` of wit/, by hand and without dependencies: what crosses the
// boundary is laid out as the component model's canonical ABI says. Built with GOOS=wasip1 and -buildmode=c-shared.
package whimbrel

import "errors"

// Failure is an error as the agent knows it.
type Failure struct {
	// Code is short and stable, for metrics: "value", "config", …
	Code string
	// Message is for people. Put no row values in it.
	Message string
	// Retryable says that the same call may succeed later.
	Retryable bool
}

func (f Failure) Error() string { return f.Code + ": " + f.Message }

func failureOf(err error) Failure {
	var failure Failure
	if errors.As(err, &failure) {
		return failure
	}
	return Failure{Code: "error", Message: err.Error()}
}
