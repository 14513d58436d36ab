package simulate

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

// picture is a PNG of one grey pixel.
var picture = []byte("\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU" +
	"\x00\x00\x00\x0aIDATx\xdach\x00\x00\x00\x82\x00\x81\xdaE\x08;\x00\x00\x00\x00IEND\xaeB`\x82")

// sampleRate is that of all sounds.
const sampleRate = 8000

// appendSound appends a WAV file of silence: a tenth of a second for each token.
func appendSound(dst []byte, tokens int) []byte {
	n := min(max(tokens, 1), 600) * sampleRate / 10
	dst = append(dst, "RIFF"...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(36+n))
	dst = append(dst, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...) // PCM, one channel
	dst = binary.LittleEndian.AppendUint32(dst, sampleRate)
	dst = binary.LittleEndian.AppendUint32(dst, sampleRate)
	dst = append(dst, "\x01\x00\x08\x00data"...) // 8 bits
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	for range n {
		dst = append(dst, 0x80)
	}
	return dst
}

// maxVector bounds what a caller can ask for.
const maxVector = 4096

// dimensions returns how long vectors are: as asked for, or as usual.
func dimensions(asked, usual int) int {
	if asked <= 0 {
		asked = usual
	}
	return min(asked, maxVector)
}

// number returns the d-th number of the i-th vector.
func number(seed uint64, i, d int) float32 {
	return float32(2*unit(seed, drawWord+uint64(i)<<16+uint64(d)) - 1)
}

// appendVector appends the i-th vector as a JSON array.
func appendVector(dst []byte, seed uint64, i, dims int) []byte {
	dst = append(dst, '[')
	for d := range dims {
		if d > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendFloat(dst, float64(number(seed, i, d)), 'g', -1, 32)
	}
	return append(dst, ']')
}

// appendPacked appends the i-th vector as OpenAI packs it: little-endian floats in base64, in quotes.
func appendPacked(dst []byte, seed uint64, i, dims int) []byte {
	raw := make([]byte, 0, 4*dims)
	for d := range dims {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(number(seed, i, d)))
	}
	return appendBase64(dst, raw)
}

// appendBase64 appends data in base64, in quotes.
func appendBase64(dst, data []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}

// appendCount appends a field with a number; the first in an object has no comma.
func appendCount(dst []byte, name string, n int) []byte {
	if last := dst[len(dst)-1]; last != '{' && last != '[' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return strconv.AppendInt(dst, int64(n), 10)
}

// appendWords appends the answer's words as a JSON string.
func (a *answer) appendWords(dst []byte) []byte {
	dst = append(dst, '"')
	dst = appendText(dst, a.text, a.tokens)
	return append(dst, '"')
}

// appendWordString appends the i-th word as a JSON string.
func (a *answer) appendWordString(dst []byte, i int) []byte {
	dst = append(dst, '"')
	dst = appendWord(dst, a.text, i)
	return append(dst, '"')
}

// appendRanks appends the documents of a ranking, best first, as {"index","relevance_score"}.
func (a *answer) appendRanks(dst []byte) []byte {
	n := a.inputs
	if a.limit > 0 {
		n = min(n, a.limit)
	}
	first := int(random(a.text, drawWord) % uint64(max(a.inputs, 1)))
	return appendItems(dst, n, func(dst []byte, i int) []byte {
		dst = appendCount(append(dst, '{'), "index", (first+i)%a.inputs)
		dst = strconv.AppendFloat(append(dst, `,"relevance_score":`...), 1/float64(i+2), 'g', 6, 64)
		return append(dst, '}')
	})
}

// appendNumber appends a whole number.
func appendNumber(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }
