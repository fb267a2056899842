package notify

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// insights keeps reports. The first writes fail as errs says.
type insights struct {
	mu   sync.Mutex
	errs []error
	got  []forge.CheckRun
}

func (i *insights) PutReport(_ context.Context, _ forge.Repo, _ int64, check forge.CheckRun) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.errs) > 0 {
		err := i.errs[0]
		i.errs = i.errs[1:]
		return err
	}
	i.got = append(i.got, check)
	return nil
}

// A forge that has statuses and reports gets one report, at the end, and its
// status whatever becomes of that.
func TestReportsBesideStatuses(t *testing.T) {
	tests := []struct {
		name string
		errs []error
		want int
	}{
		{"written", nil, 1},
		{"after an outage", []error{&forge.RetryError{Err: errors.New("503")}}, 1},
		{"not allowed", []error{forge.ErrForbidden}, 0},
		{"refused", []error{forge.ErrRejected}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, kept := newFakeForge(time.Second), &insights{errs: tt.errs}
				w := &world{store: newFakeStore(), forge: f}
				w.opts = Options{Forges: map[string]Forge{"github": {Statuses: f, Reports: kept, Spacing: time.Second}}, BaseURL: "https://ci.example.com"}
				w.run(t)
				defer w.stop()
				w.store.commit(sample("x1"))
				wait(5 * time.Second)
				if len(kept.got) != 0 {
					t.Errorf("%d reports before the end", len(kept.got))
				}
				w.store.commit(failed(sample("x1"), pipeline.BuildFailed, pipeline.JobFailed, "exit"))
				w.settle(t, time.Minute)
				last := f.statuses[len(f.statuses)-1]
				if last.State != "failure" || last.Conclusion != "failure" || last.Name == "" || last.Ref == "" {
					t.Errorf("got %+v", last)
				}
				if len(kept.got) != tt.want || tt.want == 1 && (kept.got[0].Conclusion != "failure" || kept.got[0].Name != last.Name) {
					t.Errorf("got %d reports: %+v", len(kept.got), kept.got)
				}
				if st := w.state(t, "x1"); !st.Ended {
					t.Errorf("the end isn't noted: %+v", st)
				}
			})
		})
	}
}
