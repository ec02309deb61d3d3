//go:build wasip1

package main

import (
	"bytes"
	"encoding/json"

	"mask/whimbrel"
)

// masker masks one column of both row images, so that an old value does not slip through "before".
type masker struct {
	paths []string
}

func (m *masker) Configure(config []byte) error {
	options := struct {
		Column string `json:"column"`
	}{Column: "email"}
	if len(config) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(config))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&options); err != nil {
			return whimbrel.Failure{Code: "config", Message: err.Error()}
		}
	}
	if options.Column == "" {
		return whimbrel.Failure{Code: "config", Message: "`column` is the name of a column"}
	}
	m.paths = []string{"before." + options.Column, "after." + options.Column}
	return nil
}

func (m *masker) Apply(batch *whimbrel.Batch) error {
	for _, path := range m.paths {
		if err := batch.MapText(path, mask); err != nil {
			return err
		}
	}
	return nil
}

func init() { whimbrel.Export(&masker{}) }

func main() {}
