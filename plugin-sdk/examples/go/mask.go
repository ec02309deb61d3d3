// A plugin that masks e-mail addresses.
package main

import (
	"strings"
	"unicode/utf8"
)

// mask appends the hidden form of a text: the first character and the domain, "a***@example.org"; what is no address
// becomes "***".
func mask(to []byte, text string) []byte {
	at := strings.LastIndexByte(text, '@')
	if at <= 0 || at == len(text)-1 {
		return append(to, "***"...)
	}
	_, first := utf8.DecodeRuneInString(text)
	to = append(to, text[:first]...)
	to = append(to, "***"...)
	return append(to, text[at:]...)
}
