package simulate

// Draws are pure functions of a seed and of what is drawn, so that the same call gives the same answer on every run,
// whatever runs beside it.
const (
	drawFault uint64 = iota + 1
	drawStraggler
	drawLatency
	drawTokens
	drawCached
	drawID      // and the two that follow
	_           //
	_           //
	drawRequest // and the two that follow
	_           //
	_           //
	drawPrint
	drawWord // and all that follow
)

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// random returns 64 even bits for the what-th draw of a seed.
func random(seed, what uint64) uint64 { return mix(seed + what*0x9e3779b97f4a7c15) }

// unit returns an even draw from 0 up to, without, 1.
func unit(seed, what uint64) float64 { return float64(random(seed, what)>>11) / (1 << 53) }

const (
	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	hex    = "0123456789abcdef"
)

// appendID appends n characters of the alphabet, at most 24, from three draws of the seed starting with what.
func appendID(dst []byte, alphabet string, n int, seed, what uint64) []byte {
	base := uint64(len(alphabet))
	for i := 0; i < n; i += 8 {
		v := random(seed, what+uint64(i/8))
		for range min(8, n-i) {
			dst = append(dst, alphabet[v%base])
			v /= base
		}
	}
	return dst
}

// words are what answers are made of. None needs escaping in JSON.
var words = [...]string{
	"a", "about", "after", "again", "air", "all", "along", "also", "always", "among", "and", "any", "are", "around", "as",
	"at", "autumn", "away", "back", "be", "because", "bell", "between", "bird", "blue", "boat", "bread", "bridge", "bright",
	"by", "calm", "cloud", "coast", "cold", "come", "corner", "day", "deep", "door", "down", "dream", "each", "early",
	"earth", "east", "evening", "every", "field", "fire", "first", "flower", "for", "forest", "from", "garden", "glass",
	"gold", "grass", "green", "hand", "harbour", "hill", "home", "horizon", "hour", "house", "in", "into", "is", "island",
	"it", "journey", "keep", "lake", "lamp", "land", "last", "leaf", "letter", "light", "like", "line", "little", "long",
	"map", "market", "meadow", "moment", "moon", "morning", "mountain", "music", "near", "never", "new", "night", "north",
	"now", "of", "old", "on", "one", "open", "orchard", "over", "paper", "path", "quiet", "rain", "red", "river", "road",
	"roof", "sail", "salt", "sand", "sea", "second", "shadow", "silver", "sky", "slow", "small", "snow", "some", "song",
	"south", "spring", "star", "still", "stone", "story", "street", "summer", "sun", "table", "that", "the", "there",
	"they", "this", "through", "time", "to", "town", "train", "tree", "under", "until", "valley", "village", "voice",
	"wall", "water", "wave", "we", "west", "when", "where", "which", "wide", "wind", "window", "winter", "with", "wood",
	"word", "year", "yellow", "yes", "young",
}

// appendWord appends the i-th token of a text: a word, and the space before it unless it is the first.
func appendWord(dst []byte, seed uint64, i int) []byte {
	if i > 0 {
		dst = append(dst, ' ')
	}
	return append(dst, words[random(seed, drawWord+uint64(i))%uint64(len(words))]...)
}

func appendText(dst []byte, seed uint64, n int) []byte {
	for i := range n {
		dst = appendWord(dst, seed, i)
	}
	return dst
}
