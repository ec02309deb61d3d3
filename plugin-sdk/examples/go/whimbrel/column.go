package whimbrel

import "unsafe"

// Column is a text column as it lies in memory: row i is data[offsets[i]:offsets[i+1]], and null where bit i%8 of
// nulls[i/8] is set. Texts taken from it stay good for as long as they are kept.
type Column struct {
	offsets []uint32
	data    []byte
	nulls   []byte
}

// Len is the number of rows.
func (c *Column) Len() int { return max(len(c.offsets)-1, 0) }

// Text is one row; false for null.
func (c *Column) Text(row int) (string, bool) {
	if c.null(row) {
		return "", false
	}
	text := c.data[c.offsets[row]:c.offsets[row+1]]
	return unsafe.String(unsafe.SliceData(text), len(text)), true
}

func (c *Column) null(row int) bool {
	return len(c.nulls) > 0 && c.nulls[row/8]&(1<<(row%8)) != 0
}

// allNull says that there is nothing to read, and so nothing to write.
func (c *Column) allNull() bool {
	for row := range c.Len() {
		if !c.null(row) {
			return false
		}
	}
	return true
}

// Map builds a column of the same rows: edit appends the new text of each row that is not null.
func (c *Column) Map(edit func(to []byte, text string) []byte) Column {
	mapped := Column{
		offsets: make([]uint32, 1, len(c.offsets)),
		data:    make([]byte, 0, len(c.data)),
		nulls:   c.nulls,
	}
	for row := range c.Len() {
		if text, ok := c.Text(row); ok {
			mapped.data = edit(mapped.data, text)
		}
		mapped.offsets = append(mapped.offsets, uint32(len(mapped.data)))
	}
	return mapped
}
