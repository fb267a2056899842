package cron

import (
	"testing"
	"time"
)

func at(t *testing.T, text string, zone *time.Location) time.Time {
	t.Helper()
	out, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// TestQuartzWindows: a window is every minute that the expression matches
// (CodePipeline reference 3.8, DeploymentWindow).
func TestQuartzWindows(t *testing.T) {
	tests := []struct {
		name, cron string
		inside     []string
		outside    []string
	}{
		{"office hours", "* * 9-16 ? * MON-THU *", []string{"2026-05-04 09:00", "2026-05-07 16:59"}, []string{"2026-05-04 08:59", "2026-05-07 17:00", "2026-05-08 10:00"}},
		{"days by number, 1 is a Sunday", "* * * ? * 1", []string{"2026-05-03 10:00"}, []string{"2026-05-04 10:00"}},
		{"over the weekend", "* * * ? * FRI-MON", []string{"2026-05-01 10:00", "2026-05-02 10:00", "2026-05-03 10:00", "2026-05-04 10:00"}, []string{"2026-05-05 10:00"}},
		{"the last day", "* * * L * ?", []string{"2026-02-28 10:00", "2026-05-31 10:00"}, []string{"2026-05-30 10:00"}},
		{"three days before it", "* * * L-3 * ?", []string{"2026-05-28 10:00"}, []string{"2026-05-31 10:00"}},
		{"the last weekday", "* * * LW * ?", []string{"2026-05-29 10:00"}, []string{"2026-05-31 10:00"}},
		{"the weekday nearest the 2nd, a Saturday", "* * * 2W * ?", []string{"2026-05-01 10:00"}, []string{"2026-05-02 10:00", "2026-05-04 10:00"}},
		{"the weekday nearest the 1st stays in its month", "* * * 1W 8 ?", []string{"2026-08-03 10:00"}, []string{"2026-07-31 10:00"}},
		{"the second Tuesday", "* * * ? * TUE#2", []string{"2026-05-12 10:00"}, []string{"2026-05-05 10:00", "2026-05-19 10:00"}},
		{"the last Friday", "* * * ? * 6L", []string{"2026-05-29 10:00"}, []string{"2026-05-22 10:00"}},
		{"a year", "* 0/15 10 * * ? 2026-2027", []string{"2026-05-01 10:45"}, []string{"2026-05-01 10:46", "2028-05-01 10:45"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseQuartz(tt.cron, time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range tt.inside {
				if !s.Matches(at(t, text, time.UTC)) {
					t.Errorf("%s is outside", text)
				}
			}
			for _, text := range tt.outside {
				if s.Matches(at(t, text, time.UTC)) {
					t.Errorf("%s is inside", text)
				}
			}
		})
	}
}

func TestNext(t *testing.T) {
	zone := berlin(t)
	tests := []struct{ name, cron, after, want string }{
		{"every night", "0 3 * * *", "2026-05-01 02:59", "2026-05-01 03:00"},
		{"not the same minute again", "0 3 * * *", "2026-05-01 03:00", "2026-05-02 03:00"},
		{"a leap day", "30 1 29 2 *", "2026-05-01 00:00", "2028-02-29 01:30"},
		{"by month or by week", "0 0 13 * FRI", "2026-05-01 12:00", "2026-05-08 00:00"},
		{"7 is a Sunday", "0 0 * * 7", "2026-05-01 12:00", "2026-05-03 00:00"},
		{"what the clocks leave out comes an hour later", "30 2 * * *", "2026-03-29 01:00", "2026-03-29 03:30"},
		{"what comes twice counts once", "30 2 * * *", "2026-10-25 02:30", "2026-10-26 02:30"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse(tt.cron, zone)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := s.Next(at(t, tt.after, zone))
			if want := at(t, tt.want, zone); !ok || !got.Equal(want) {
				t.Errorf("after %s: got %v %v, want %v", tt.after, got, ok, want)
			}
		})
	}
	never, err := Parse("0 0 30 2 *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := never.Next(at(t, "2026-05-01 00:00", time.UTC)); ok {
		t.Errorf("30 February is on %v", got)
	}
}

func TestMistakes(t *testing.T) {
	for _, text := range []string{"", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *", "1- * * * *", "*/0 * * * *", "* * * * MON#6", "-1 * * * *"} {
		if _, err := Parse(text, time.UTC); err == nil {
			t.Errorf("Parse(%q) finds no mistake", text)
		}
	}
	for _, text := range []string{"", "5 * * * * ?", "* * * * *", "* * * 32W * ?", "* * * L-31 * ?", "* * * ? * 0", "* * * ? * 8L", "* * * * * ? 1969"} {
		if _, err := ParseQuartz(text, time.UTC); err == nil {
			t.Errorf("ParseQuartz(%q) finds no mistake", text)
		}
	}
}

// FuzzNext: what Next finds matches, is later, and nothing between does for the
// hour before it; but for times that the clocks leave out.
func FuzzNext(f *testing.F) {
	f.Add("0 3 * * *", int64(1_700_000_000))
	f.Add("*/7 1-5,22 L * ?", int64(0))
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		if unix < 0 || unix > 5_000_000_000 {
			return
		}
		now := time.Unix(unix, 0).UTC()
		for _, parse := range []func(string, *time.Location) (Schedule, error){Parse, ParseQuartz} {
			s, err := parse(text, time.UTC)
			if err != nil {
				continue
			}
			next, ok := s.Next(now)
			if !ok {
				continue
			}
			if !next.After(now) || !s.Matches(next) {
				t.Fatalf("%q after %v: %v", text, now, next)
			}
			for m := next.Add(-time.Minute); m.After(now) && m.After(next.Add(-time.Hour)); m = m.Add(-time.Minute) {
				if s.Matches(m) {
					t.Fatalf("%q: %v comes before %v", text, m, next)
				}
			}
		}
	})
}
