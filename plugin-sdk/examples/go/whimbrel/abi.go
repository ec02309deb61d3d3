//go:build wasip1

package whimbrel

import (
	"structs"
	"unsafe"
)

// blocks keeps what the agent writes into this memory during a call from being collected before the plugin has a pointer to
// it. Emptied when the call ends; what the plugin still holds stays.
var blocks [][]uint64

// allocate is how the agent gets memory to put a column in. Go moves nothing on its heap, so the address is good.
//
//go:wasmexport cabi_realloc
func allocate(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	block := make([]uint64, (size+7)/8)
	blocks = append(blocks, block)
	at := unsafe.Pointer(unsafe.SliceData(block))
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(at), size), unsafe.Slice((*byte)(old), oldSize))
	}
	return at
}

// slice is what the agent has written to memory from allocate.
func slice[T any](at, length uint32) []T {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(pointer(at)), length)
}

// pointer is an address in linear memory that the agent was given by allocate; vet cannot know that.
func pointer(at uint32) unsafe.Pointer { return unsafe.Pointer(uintptr(at)) }

func address(text string) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.StringData(text)))) }

// result is a `result<_, failure>` as the canonical ABI lays it out.
type result struct {
	_                   structs.HostLayout
	failed              bool
	code, codeLen       uint32
	message, messageLen uint32
	retryable           bool
}

func (r *result) err() error {
	if !r.failed {
		return nil
	}
	return Failure{
		Code:      string(slice[byte](r.code, r.codeLen)),
		Message:   string(slice[byte](r.message, r.messageLen)),
		Retryable: r.retryable,
	}
}

// The answer of the call that is ending, and what it points to: the agent reads it after the function has returned.
var (
	answer  result
	failure Failure
)

func answered(err error) *result {
	blocks = nil
	if err == nil {
		answer = result{}
		return &answer
	}
	failure = failureOf(err)
	answer = result{
		failed:     true,
		code:       address(failure.Code),
		codeLen:    uint32(len(failure.Code)),
		message:    address(failure.Message),
		messageLen: uint32(len(failure.Message)),
		retryable:  failure.Retryable,
	}
	return &answer
}
