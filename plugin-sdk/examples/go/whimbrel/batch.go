//go:build wasip1

package whimbrel

import (
	"structs"
	"unsafe"
)

// Batch is a batch of change events that stays in the agent; each call below crosses the boundary once. Good until Apply
// returns. Paths name an image and a column: "after.email", "before.id".
//
// This is what the example needs and a little more. The other functions of wit/events.wit are bound the same way.
type Batch struct {
	handle int32
}

// Len is the number of events.
func (b *Batch) Len() int { return int(batchLen(b.handle)) }

// TextColumn reads one column as text.
func (b *Batch) TextColumn(path string) Column {
	var packed packedColumn
	batchTextColumn(b.handle, path, &packed)
	return Column{
		offsets: slice[uint32](packed.offsets, packed.offsetsLen),
		data:    slice[byte](packed.data, packed.dataLen),
		nulls:   slice[byte](packed.nulls, packed.nullsLen),
	}
}

// SetTextColumn writes one column, a value for each event.
func (b *Batch) SetTextColumn(path string, column Column) error {
	var result result
	batchSetTextColumn(
		b.handle, path,
		unsafe.Pointer(unsafe.SliceData(column.offsets)), uint32(len(column.offsets)),
		unsafe.Pointer(unsafe.SliceData(column.data)), uint32(len(column.data)),
		unsafe.Pointer(unsafe.SliceData(column.nulls)), uint32(len(column.nulls)),
		&result,
	)
	return result.err()
}

// MapText edits one column: edit appends the new text of each row that is not null.
func (b *Batch) MapText(path string, edit func(to []byte, text string) []byte) error {
	column := b.TextColumn(path)
	if column.allNull() {
		return nil
	}
	return b.SetTextColumn(path, column.Map(edit))
}

// Discard takes events out of the stream.
func (b *Batch) Discard(rows []uint32) {
	batchDiscard(b.handle, unsafe.Pointer(unsafe.SliceData(rows)), uint32(len(rows)))
}

// Fail sends one event to the dead letters; the others go on.
func (b *Batch) Fail(row int, why Failure) {
	batchFail(b.handle, uint32(row), why.Code, why.Message, why.Retryable)
}

type packedColumn struct {
	_                   structs.HostLayout
	offsets, offsetsLen uint32
	data, dataLen       uint32
	nulls, nullsLen     uint32
}

//go:wasmimport whimbrel:plugin/events@0.1.0 [method]batch.len
func batchLen(batch int32) uint32

//go:wasmimport whimbrel:plugin/events@0.1.0 [method]batch.text-column
func batchTextColumn(batch int32, path string, into *packedColumn)

//go:wasmimport whimbrel:plugin/events@0.1.0 [method]batch.set-text-column
func batchSetTextColumn(batch int32, path string, offsets unsafe.Pointer, offsetsLen uint32, data unsafe.Pointer,
	dataLen uint32, nulls unsafe.Pointer, nullsLen uint32, into *result)

//go:wasmimport whimbrel:plugin/events@0.1.0 [method]batch.discard
func batchDiscard(batch int32, rows unsafe.Pointer, rowsLen uint32)

//go:wasmimport whimbrel:plugin/events@0.1.0 [method]batch.fail
func batchFail(batch int32, row uint32, code string, message string, retryable bool)

//go:wasmimport whimbrel:plugin/events@0.1.0 [resource-drop]batch
func batchDrop(batch int32)
