// Package cron reads cron expressions: the five fields that everybody knows, and
// the six or seven of Quartz, which CodePipeline's deployment windows have
// (CodePipeline reference 3.8). It answers whether a minute matches, and which
// one does next. Seconds are left out: a window lasts for whole minutes.
package cron

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule is an expression that was read, in a time zone. The zero Schedule
// matches nothing.
type Schedule struct {
	minutes, hours, months, years set
	days                          dayOfMonth
	weekdays                      dayOfWeek
	// either says that a day matches by month or by week where both are given,
	// as cron has it; Quartz wants both.
	either bool
	zone   *time.Location
}

// set are the numbers that a field allows; nil: all of them.
type set map[int]bool

func (s set) has(n int) bool { return s == nil || s[n] }

// dayOfMonth is a field that may count from the month's end.
type dayOfMonth struct {
	days     set
	last     bool // L, the last day
	lastWork bool // LW, the last weekday
	offset   int  // L-3
	near     int  // 15W, the weekday nearest to it
	given    bool // not * or ?
}

// dayOfWeek is a field that may name the nth weekday of a month. Days count from
// 0, a Sunday.
type dayOfWeek struct {
	days  set
	last  set         // 6L
	nth   map[int]int // 6#3
	given bool
}

// field is what a field's words may be.
type field struct {
	name      string
	low, high int
	names     []string // of low and what follows
}

var (
	monthNames = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	dayNames   = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

	minuteField  = field{"minute", 0, 59, nil}
	hourField    = field{"hour", 0, 23, nil}
	dayField     = field{"day of the month", 1, 31, nil}
	monthField   = field{"month", 1, 12, monthNames}
	quartzDays   = field{"day of the week", 1, 7, dayNames}
	ordinaryDays = field{"day of the week", 0, 7, dayNames}
	yearField    = field{"year", 1970, 2199, nil}
)

// lengthLimit bounds an expression, in bytes.
const lengthLimit = 200

// Parse reads "minute hour day-of-month month day-of-week" in the zone, days of
// the week from 0 to 7 with Sunday as both.
func Parse(text string, zone *time.Location) (Schedule, error) {
	words := strings.Fields(text)
	if len(words) != 5 || len(text) > lengthLimit {
		return Schedule{}, fmt.Errorf("want five fields, minute hour day month weekday, have %.60q", text)
	}
	return read(words, ordinaryDays, true, zone)
}

// ParseQuartz reads "second minute hour day-of-month month day-of-week [year]"
// in the zone, days of the week from 1, a Sunday. The second is *, or 0, which
// means the same: a minute either matches or doesn't.
func ParseQuartz(text string, zone *time.Location) (Schedule, error) {
	words := strings.Fields(text)
	if (len(words) != 6 && len(words) != 7) || len(text) > lengthLimit {
		return Schedule{}, fmt.Errorf("want six or seven fields, second minute hour day month weekday [year], have %.60q", text)
	}
	if words[0] != "*" && words[0] != "0" {
		return Schedule{}, fmt.Errorf("second: want *, have %q", words[0])
	}
	s, err := read(words[1:6], quartzDays, false, zone)
	if err == nil && len(words) == 7 {
		s.years, err = yearField.read(words[6])
	}
	return s, err
}

func read(words []string, week field, either bool, zone *time.Location) (Schedule, error) {
	s := Schedule{either: either, zone: zone}
	var err error
	if s.minutes, err = minuteField.read(words[0]); err != nil {
		return Schedule{}, err
	}
	if s.hours, err = hourField.read(words[1]); err != nil {
		return Schedule{}, err
	}
	if s.days, err = readDays(words[2]); err != nil {
		return Schedule{}, err
	}
	if s.months, err = monthField.read(words[3]); err != nil {
		return Schedule{}, err
	}
	s.weekdays, err = readWeekdays(words[4], week)
	if s.zone == nil {
		s.zone = time.UTC
	}
	return s, err
}

// read reads a list of numbers, ranges and steps: 1,5-7,*/10.
func (f field) read(text string) (set, error) {
	if text == "*" {
		return nil, nil
	}
	out := set{}
	for part := range strings.SplitSeq(text, ",") {
		if err := f.part(part, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (f field) part(text string, out set) error {
	span, stepText, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		var err error
		if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > f.high {
			return f.wrong(text)
		}
	}
	low, high := f.low, f.high
	if span != "*" {
		from, to, ranged := strings.Cut(span, "-")
		var ok bool
		if low, ok = f.number(from); !ok {
			return f.wrong(text)
		}
		switch {
		case ranged:
			if high, ok = f.number(to); !ok {
				return f.wrong(text)
			}
		case !stepped:
			high = low
		}
	}
	size := f.high - f.low + 1
	for n := 0; n <= (high-low+size)%size; n += step { // FRI-MON goes over the end
		out[f.low+(low-f.low+n)%size] = true
	}
	return nil
}

func (f field) wrong(text string) error {
	return fmt.Errorf("%s: want %d to %d, a list, a range or a step, have %.40q", f.name, f.low, f.high, text)
}

func (f field) number(text string) (int, bool) {
	for i, name := range f.names {
		if strings.EqualFold(name, text) {
			return f.low + i, true
		}
	}
	if text == "" || len(text) > 4 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= f.low && n <= f.high
}
