package specfile

import "strings"

// Nearest is the known word that word most likely stands for, or "" if none is
// near: equal but for case, dashes and underscores, the beginning of a known
// word, or at most a third of its letters (and one) away.
func Nearest(word string, known []string) string {
	word = plain(word)
	best, bestDistance := "", 1+len(word)/3
	if len(word) < 3 || len(word) > 64 {
		bestDistance = 0
	}
	for _, k := range known {
		d := distance(word, plain(k))
		if len(word) > 2 && strings.HasPrefix(plain(k), word) {
			d = min(d, 1)
		}
		if d < bestDistance || d == 0 || d == bestDistance && best == "" && d > 0 {
			best, bestDistance = k, d
		}
	}
	return best
}

func plain(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "", "\\", "").Replace(strings.ToLower(s))
}

// distance counts the letters to add, drop, change or swap with their
// neighbour that turn a into b.
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
