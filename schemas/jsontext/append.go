package jsontext

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[done:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			done = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[done:i]...)
			dst = append(dst, "\ufffd"...)
			done = i + 1
		}
		i += n
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

// AppendField appends a comma where one is due, the key and its colon. Keys are
// plain ASCII.
func AppendField(dst []byte, key string) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, key...)
	return append(dst, '"', ':')
}

// AppendItem appends a comma where one is due in an array.
func AppendItem(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '[' {
		dst = append(dst, ',')
	}
	return dst
}

// AppendStringField appends a field unless s is empty.
func AppendStringField(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	return AppendString(AppendField(dst, key), s)
}

// AppendStrings appends an array of strings.
func AppendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for _, s := range list {
		dst = AppendString(AppendItem(dst), s)
	}
	return append(dst, ']')
}

// AppendIntField appends a field unless v is nil.
func AppendIntField(dst []byte, key string, v *int64) []byte {
	if v == nil {
		return dst
	}
	return strconv.AppendInt(AppendField(dst, key), *v, 10)
}

// AppendFloatField appends a field unless v is nil or not a number of JSON.
func AppendFloatField(dst []byte, key string, v *float64) []byte {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return dst
	}
	form := byte('f')
	if a := math.Abs(*v); a != 0 && (a < 1e-6 || a >= 1e21) {
		form = 'e'
	}
	return strconv.AppendFloat(AppendField(dst, key), *v, form, -1, 64)
}

// AppendBoolField appends a field unless v is nil.
func AppendBoolField(dst []byte, key string, v *bool) []byte {
	if v == nil {
		return dst
	}
	return strconv.AppendBool(AppendField(dst, key), *v)
}

// AppendRawField appends a field unless raw is empty. raw is JSON.
func AppendRawField(dst []byte, key string, raw []byte) []byte {
	if len(raw) == 0 {
		return dst
	}
	return append(AppendField(dst, key), raw...)
}

// AppendFields appends the fields of the JSON object raw, without its braces. It
// does nothing with what is no object.
func AppendFields(dst, raw []byte) []byte {
	raw = bytes.TrimSpace(raw)
	if len(raw) < 2 || raw[0] != '{' || raw[len(raw)-1] != '}' {
		return dst
	}
	raw = bytes.TrimSpace(raw[1 : len(raw)-1])
	if len(raw) == 0 {
		return dst
	}
	if n := len(dst); n > 0 && dst[n-1] != '{' {
		dst = append(dst, ',')
	}
	return append(dst, raw...)
}

// AppendBase64 appends data as a JSON string, behind prefix, which needs no
// escaping.
func AppendBase64(dst []byte, prefix string, data []byte) []byte {
	dst = append(append(dst, '"'), prefix...)
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}

// Count is a number of tokens. It decodes from 45, 45.0, "45" and null; anything
// that is no count leaves it as it was, because an answer is worth more than its
// bill.
type Count int64

// UnmarshalJSON decodes b.
func (c *Count) UnmarshalJSON(b []byte) error {
	s := string(bytes.Trim(b, `"`))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		*c = Count(n)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && f >= 0 && f < 1<<53 {
		*c = Count(f)
	}
	return nil
}
