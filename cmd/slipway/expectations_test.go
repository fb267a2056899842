package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/request"
	"github.com/slipway-ci/slipway/pipeline"
)

// TestExpectations: what the answers of CodePipeline reference 3.8's LambdaInvoke
// and CloudWatchAlarm rules mean, and those of queries.
func TestExpectations(t *testing.T) {
	rules := func(state, health string) string {
		return `{"data": {"groups": [{"rules": [{"name": "other", "state": "firing", "health": "ok"}, {"name": "errors", "state": "` + state + `", "health": "` + health + `"}]}]}}`
	}
	vector := func(values ...string) string {
		return `{"data": {"resultType": "vector", "result": [{"value": [1, "` + strings.Join(values, `"]}, {"value": [1, "`) + `"]}]}}`
	}
	alarm := pipeline.Expectation{Provider: pipeline.AlarmProvider, Alarm: "errors", States: []string{"OK"}}
	query := pipeline.Expectation{Provider: pipeline.PrometheusProvider, Operator: "<", Threshold: "0.5"}
	check := pipeline.Expectation{Provider: pipeline.HTTPProvider}
	tests := []struct {
		name string
		e    pipeline.Expectation
		body string
		want string
	}{
		{"the callee agrees", check, `{"result": "Succeeded"}`, ""},
		{"it disagrees", check, `{"result": "Failed", "message": "not today"}`, "the answer's result is Failed: not today"},
		{"a page that says nothing", check, "<html>", `the answer doesn't say {"result": "Succeeded"}`},
		{"the alarm is quiet", alarm, rules("inactive", "ok"), ""},
		{"about to fire", alarm, rules("pending", "ok"), ""},
		{"it fires", alarm, rules("firing", "ok"), "alarm errors is ALARM, not OK"},
		{"it can't be evaluated", alarm, rules("inactive", "err"), "alarm errors is INSUFFICIENT_DATA, not OK"},
		{"there is none", alarm, `{"data": {"groups": []}}`, "alarm errors is INSUFFICIENT_DATA, not OK"},
		{"all samples hold", query, vector("0.1", "0.2"), ""},
		{"one doesn't", query, vector("0.1", "0.7"), "the query's value is 0.7, not < 0.5"},
		{"no number", query, vector("NaN"), "the query's value is NaN, not < 0.5"},
		{"no data", query, `{"data": {"resultType": "vector", "result": []}}`, "the query has no data"},
		{"a scalar", query, `{"data": {"resultType": "scalar", "result": [1, "0"]}}`, ""},
		{"a matrix", query, `{"data": {"resultType": "matrix", "result": []}}`, "the answer isn't one of Prometheus to a query of a vector or a scalar"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := meets(tt.e, request.Answer{Status: 200, Body: []byte(tt.body)}); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The server's own Prometheus may be on its own host; nothing else there is.
func TestRuleOrders(t *testing.T) {
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("rule_name[]") != "errors" {
			t.Errorf("asked for %s", r.URL)
		}
		_, _ = w.Write([]byte(`{"data": {"groups": [{"rules": [{"name": "errors", "state": "inactive", "health": "ok"}]}]}}`))
	}))
	defer prometheus.Close()
	a := action{
		def: pipeline.Action{Category: pipeline.Rule, Provider: pipeline.AlarmProvider},
		set: pipeline.Settings{Configuration: map[string]string{pipeline.ConfigAlarm: "errors"}},
	}
	order := &pipeline.HTTPOrder{}
	if err := ruleOrder(config.Config{}, a, order); err == nil || !strings.Contains(err.Error(), "prometheus.url") {
		t.Errorf("without a Prometheus: %v", err)
	}
	if err := ruleOrder(config.Config{Prometheus: config.Prometheus{URL: prometheus.URL + "/"}}, a, order); err != nil {
		t.Fatal(err)
	}
	answer, err := request.Do(t.Context(), request.Options{Allow: []string{strings.TrimPrefix(prometheus.URL, "http://")}}, request.Request{Method: order.Method, URL: order.URL}, t.Logf)
	if err != nil || meets(*order.Expect, answer) != "" || !order.Internal {
		t.Errorf("%+v: %s, %v", order, meets(*order.Expect, answer), err)
	}
}

func TestAlarmActive(t *testing.T) {
	answer, status := "", http.StatusOK
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/rules" || r.URL.Query().Get("rule_name[]") != "errors" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer prometheus.Close()
	cfg := config.Config{Prometheus: config.Prometheus{URL: prometheus.URL}}
	rule := func(state, health string) string {
		return `{"data": {"groups": [{"rules": [{"name": "errors", "state": "` + state + `", "health": "` + health + `"}]}]}}`
	}
	tests := []struct {
		name, answer string
		status       int
		want         bool
		wrong        string
	}{
		{"it fires", rule("firing", "ok"), 200, true, ""},
		{"about to fire", rule("pending", "ok"), 200, false, ""},
		{"quiet", rule("inactive", "ok"), 200, false, ""},
		{"it can't be evaluated", rule("inactive", "err"), 200, false, ""},
		{"there is none", `{"data": {"groups": []}}`, 200, false, "no such alerting rule"},
		{"refused", "", 401, false, "401"},
		{"a page", "<html>", 200, false, "list of rules"},
	}
	for _, tt := range tests {
		answer, status = tt.answer, tt.status
		active, err := alarmActive(t.Context(), cfg, "errors")
		if active != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s: got %t, %v", tt.name, active, err)
		}
	}
}
