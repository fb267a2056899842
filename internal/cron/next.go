package cron

import "time"

// Matches reports whether the minute of t is one of the schedule's.
func (s Schedule) Matches(t time.Time) bool {
	if s.zone == nil {
		return false
	}
	t = t.In(s.zone)
	return s.day(t) && s.hours.has(t.Hour()) && s.minutes.has(t.Minute())
}

func (s Schedule) day(t time.Time) bool {
	if !s.months.has(int(t.Month())) || !s.years.has(t.Year()) {
		return false
	}
	byMonth, byWeek := s.days.matches(t), s.weekdays.matches(t)
	if s.either && s.days.given && s.weekdays.given {
		return byMonth || byWeek
	}
	return byMonth && byWeek
}

// searchYears bounds how far ahead Next looks: 29 February on a given weekday
// comes back after 28 years, and after 40 over a century's end.
const searchYears = 41

// Next is the first minute of the schedule after t; false: there is none. A
// time that the clocks leave out in spring is replaced by the hour that follows
// it, and one that comes twice in autumn counts once.
func (s Schedule) Next(t time.Time) (time.Time, bool) {
	if s.zone == nil {
		return time.Time{}, false
	}
	local := t.In(s.zone)
	for days := range searchYears * 366 {
		noon := time.Date(local.Year(), local.Month(), local.Day()+days, 12, 0, 0, 0, s.zone)
		if !s.day(noon) {
			continue
		}
		if at, ok := s.within(noon, t); ok {
			return at, true
		}
	}
	return time.Time{}, false
}

// within is the schedule's first minute of a day after t.
func (s Schedule) within(day, t time.Time) (time.Time, bool) {
	for hour := range 24 {
		if !s.hours.has(hour) {
			continue
		}
		for minute := range 60 {
			if !s.minutes.has(minute) {
				continue
			}
			at := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, s.zone)
			if at.After(t) {
				return at, true
			}
		}
	}
	return time.Time{}, false
}
