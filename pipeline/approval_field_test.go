package pipeline

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
)

var releaseFields = []Field{
	{Name: "TARGET", Type: ChoiceField, Options: []string{"blue", "green"}, Required: true},
	{Name: "WEIGHT", Type: NumberField, Default: "10"},
	{Name: "DRY", Type: BooleanField, Default: "false"},
	{Name: "WHY", Type: TextField},
}

// What is given for the fields is output variables; what is wrong is refused,
// and the approval goes on to wait.
func TestApprovalFields(t *testing.T) {
	w := newWorld(t)
	def := f3()
	def.Stages[1].Actions[0].Fields, def.Stages[1].Actions[0].Namespace = releaseFields, "ok"
	def.Stages[1].Actions[1] = Action{Name: "d", Category: Invoke, Provider: HTTPProvider, RunOrder: 2,
		Configuration: map[string]string{ConfigURL: "https://example.com/#{ok.TARGET}?w=#{ok.WEIGHT}&dry=#{ok.DRY}&why=#{ok.WHY:-none}"}}
	x := w.start(def)
	w.took()
	give := func(fields map[string]string, yes bool) Event {
		e := w.answer(x, w.token(x), yes)
		e.Fields = fields
		return e
	}
	for name, fields := range map[string]map[string]string{
		"a needed one is missing": {"WEIGHT": "1"},
		"none of the options":     {"TARGET": "red"},
		"no number":               {"TARGET": "blue", "WEIGHT": "inf"},
		"not true or false":       {"TARGET": "blue", "DRY": "yes"},
		"a control character":     {"TARGET": "blue", "WHY": "\x1b[31m"},
		"no such field":           {"TARGET": "blue", "SECRET": "x"},
	} {
		t.Run(name, func(t *testing.T) { w.refused(give(fields, true), ValidationException) })
	}
	w.ask(give(map[string]string{"TARGET": "green", "WEIGHT": "-0.5"}, true))
	expect(t, w, "X1.Prod/ok:Succeeded X1.Prod/d:InProgress")
	if got := w.all[x].Stage("Prod").Action("d").Resolved.Configuration[ConfigURL]; got != "https://example.com/green?w=-0.5&dry=false&why=none" {
		t.Errorf("a later action gets %s", got)
	}
}

func TestRejectionNeedsNoFields(t *testing.T) {
	w := newWorld(t)
	def := f3()
	def.Stages[1].Actions[0].Fields = releaseFields
	x := w.start(def)
	w.took()
	w.ask(w.answer(x, w.token(x), false))
	expect(t, w, "X1.Prod/ok:Failed X1.Prod:Failed X1:Failed")
}

// Several people approve the same thing: what the first one gave.
func TestFieldsOfSeveralApprovers(t *testing.T) {
	w := newWorld(t)
	def := f3()
	def.Stages[1].Actions[0].Fields, def.Stages[1].Actions[0].Quorum = releaseFields, 2
	x := w.start(def)
	w.took()
	vote := func(name string, fields map[string]string) Event {
		e := w.answer(x, w.token(x), true)
		e.By, e.Fields, e.Voter = name, fields, VoterOf(w.all[x].Repo.Forge, forge.User{ID: name})
		return e
	}
	w.ask(vote("ann", map[string]string{"TARGET": "blue"}))
	w.refused(vote("bob", map[string]string{"TARGET": "green"}), ValidationException)
	w.ask(vote("bob", nil))
	expect(t, w, "X1.Prod/ok:Succeeded X1.Prod/d:InProgress")
	want := map[string]string{"TARGET": "blue", "WEIGHT": "10", "DRY": "false", "WHY": "", "ApprovedBy": "ann, bob", "Comment": "", "ApprovedAt": "2026-05-01T12:00:00Z"}
	if diff := cmp.Diff(want, w.all[x].Stage("Prod").Action("ok").Exported); diff != "" {
		t.Errorf("outputs (-want +got)\n%s", diff)
	}
}

// autoRejectOnSupersede: the older execution fails as if somebody had said no,
// and the newer one enters.
func TestAutoRejectOnSupersede(t *testing.T) {
	w := newWorld(t)
	def := f3()
	def.Stages[1].Actions[0].AutoReject = true
	x1 := w.start(def)
	t1 := w.token(x1)
	w.took()
	w.start(def)
	expect(t, w, "X2.Prod/ok:InProgress X2.Prod:InProgress X2:InProgress X1.Prod/ok:Failed X1.Prod:Failed X1:Failed")
	if e := w.all[x1].Stage("Prod").Action("ok").Error; e.Code != Rejected {
		t.Errorf("error %+v", e)
	}
	w.refused(w.answer(x1, t1, true), ApprovalAlreadyCompleted)
}

// An approval that is asked for while a newer execution waits already is
// rejected at once; without the key it waits.
func TestAutoRejectOfALateQuestion(t *testing.T) {
	for _, auto := range []bool{true, false} {
		w := newWorld(t)
		ok := approve(2)
		ok.AutoReject = auto
		def := stages(SupersededMode, Stage{Name: "Prod", Actions: []Action{deploy("d", 1), ok}})
		x1 := w.start(def)
		w.start(def)
		w.took()
		w.end(x1, "Prod", "d", BuildSucceeded)
		want := "X1.Prod/d:Succeeded X1.Prod/ok:InProgress"
		if auto {
			want = "X1.Prod/d:Succeeded X1.Prod/ok:Failed X1.Prod:Failed X1:Failed X2.Prod/d:InProgress X2.Prod:InProgress"
		}
		expect(t, w, want)
	}
}

// What has begun goes on, or is told to end, as onAbandon says; what waits for
// a worker never begins (CodePipeline reference 3.10).
func TestOnAbandon(t *testing.T) {
	build := Action{Name: "it", Category: BuildCat, Provider: CodeBuildProvider, RunOrder: 1}
	with := func(a Action, o OnAbandon) Action { a.Name, a.OnAbandon = "it", o; return a }
	for _, test := range []struct {
		name    string
		action  Action
		waiting bool
		told    bool
	}{
		{"a build ends", build, false, true},
		{"a build that is detached goes on", with(build, DetachWork), false, false},
		{"a detached build that waits never begins", with(build, DetachWork), true, true},
		{"a deployment goes on", with(deploy("it", 1), ""), false, false},
		{"a deployment that is to be cancelled ends", with(deploy("it", 1), CancelWork), false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			x := w.start(stages(SupersededMode, Stage{Name: "Do", Actions: []Action{test.action}}))
			if !test.waiting {
				w.send(Event{Type: JobClaimed, Execution: x, Stage: "Do", Action: "it", Attempt: 1, Worker: "w"})
			}
			w.ask(Event{Type: StopRequested, Execution: x, Stop: StopAbandon})
			if got := w.all[x].Stage("Do").Action("it").Status; got != Abandoned {
				t.Errorf("the action is %s", got)
			}
			if told := len(w.jobs) == 0; told != test.told {
				t.Errorf("its worker was told: %v", told)
			}
			w.now = w.now.Add(time.Minute)
			w.took()
			w.send(Event{Type: JobEnded, Execution: x, Stage: "Do", Action: "it", Attempt: 1, Outcome: &Outcome{Status: BuildSucceeded}})
			expect(t, w, "")
		})
	}
}
