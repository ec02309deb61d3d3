package main

import "testing"

func TestMask(t *testing.T) {
	for text, expect := range map[string]string{
		"ada@example.org":    "a***@example.org",
		"ünal@example.org":   "ü***@example.org",
		"odd@at@example.org": "o***@example.org",
		"@example.org":       "***",
		"ada@":               "***",
		"ada":                "***",
		"":                   "***",
	} {
		if got := string(mask(nil, text)); got != expect {
			t.Errorf("%q became %q, not %q", text, got, expect)
		}
	}
}
