package cron

import (
	"strconv"
	"strings"
	"time"
)

// readDays reads the day of the month: what every field has, and Quartz's L, LW,
// L-n and nW.
func readDays(text string) (dayOfMonth, error) {
	d := dayOfMonth{given: text != "*" && text != "?"}
	upper := strings.ToUpper(text)
	switch {
	case text == "?":
		return d, nil
	case upper == "L":
		d.last = true
		return d, nil
	case upper == "LW":
		d.lastWork = true
		return d, nil
	case strings.HasPrefix(upper, "L-"):
		n, err := strconv.Atoi(upper[2:])
		if err != nil || n < 1 || n > 30 {
			return d, dayField.wrong(text)
		}
		d.last, d.offset = true, n
		return d, nil
	case strings.HasSuffix(upper, "W"):
		n, ok := dayField.number(upper[:len(upper)-1])
		if !ok {
			return d, dayField.wrong(text)
		}
		d.near = n
		return d, nil
	}
	var err error
	d.days, err = dayField.read(text)
	return d, err
}

// matches takes a day at noon.
func (d dayOfMonth) matches(t time.Time) bool {
	last := daysIn(t)
	switch {
	case d.lastWork:
		return t.Day() == weekdayNear(t, last)
	case d.last:
		return t.Day() == last-d.offset
	case d.near > 0:
		return d.near <= last && t.Day() == weekdayNear(t, d.near)
	}
	return d.days.has(t.Day())
}

func daysIn(t time.Time) int { return time.Date(t.Year(), t.Month()+1, 0, 12, 0, 0, 0, time.UTC).Day() }

// weekdayNear is the day from Monday to Friday nearest to day n of t's month,
// within the month.
func weekdayNear(t time.Time, n int) int {
	last := daysIn(t)
	switch time.Date(t.Year(), t.Month(), n, 12, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if n == 1 {
			return 3
		}
		return n - 1
	case time.Sunday:
		if n == last {
			return n - 2
		}
		return n + 1
	default:
		return n
	}
}

// readWeekdays reads the day of the week: what every field has, and Quartz's nL
// and n#k.
func readWeekdays(text string, f field) (dayOfWeek, error) {
	w := dayOfWeek{given: text != "*" && text != "?"}
	day := func(n int) int { return (n - f.low) % 7 } // 7 is a Sunday too, where 0 is
	switch upper := strings.ToUpper(text); {
	case text == "?":
		return w, nil
	case strings.Contains(upper, "#"):
		name, nth, _ := strings.Cut(upper, "#")
		n, ok := f.number(name)
		k, err := strconv.Atoi(nth)
		if !ok || err != nil || k < 1 || k > 5 {
			return w, f.wrong(text)
		}
		w.nth = map[int]int{day(n): k}
		return w, nil
	case upper == "L": // a Saturday
		w.days = set{6: true}
		return w, nil
	case strings.HasSuffix(upper, "L"):
		n, ok := f.number(upper[:len(upper)-1])
		if !ok {
			return w, f.wrong(text)
		}
		w.last = set{day(n): true}
		return w, nil
	}
	days, err := f.read(text)
	if err != nil || days == nil {
		return w, err
	}
	w.days = set{}
	for n := range days {
		w.days[day(n)] = true
	}
	return w, nil
}

func (w dayOfWeek) matches(t time.Time) bool {
	n := int(t.Weekday())
	switch {
	case w.last != nil:
		return w.last[n] && t.Day() > daysIn(t)-7
	case w.nth != nil:
		return w.nth[n] > 0 && (t.Day()-1)/7+1 == w.nth[n]
	}
	return w.days.has(n)
}
