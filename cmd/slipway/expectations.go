package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/request"
	"github.com/slipway-ci/slipway/pipeline"
)

// ruleOrder makes the request of a condition's rule, and says what its answer
// must be.
func ruleOrder(cfg config.Config, a action, o *pipeline.HTTPOrder) error {
	set := a.set.Configuration
	o.Expect = &pipeline.Expectation{Provider: a.def.Provider, Operator: set[pipeline.ConfigOperator], Threshold: set[pipeline.ConfigThreshold]}
	if a.def.Provider == pipeline.HTTPProvider {
		return nil
	}
	if cfg.Prometheus.URL == "" {
		return &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: "the server has no prometheus.url, which alarm and prometheus checks ask"}
	}
	base := strings.TrimRight(cfg.Prometheus.URL, "/")
	o.Method, o.Body, o.Internal = "GET", "", true
	if a.def.Provider == pipeline.AlarmProvider {
		o.Expect.Alarm = set[pipeline.ConfigAlarm]
		o.Expect.States = strings.Split(cmp.Or(set[pipeline.ConfigStates], pipeline.AlarmOK), ",")
		o.URL = alarmOrder(cfg, o.Expect.Alarm)
		return nil
	}
	o.URL = base + "/api/v1/query?" + url.Values{"query": {set[pipeline.ConfigQuery]}}.Encode()
	return nil
}

// meets says why an answer of a 2xx status isn't what a rule expects; "": it is.
func meets(e pipeline.Expectation, answer request.Answer) string {
	switch {
	case len(answer.Body) >= request.BodyLimitBytes && e.Provider != pipeline.HTTPProvider:
		return "the answer is too long to be read"
	case e.Provider == pipeline.AlarmProvider:
		return meetsStates(e, answer.Body)
	case e.Provider == pipeline.PrometheusProvider:
		return meetsThreshold(e, answer.Body)
	}
	var said struct {
		Result  string `json:"result"`
		Message string `json:"message"`
	}
	switch err := json.Unmarshal(answer.Body, &said); {
	case err != nil || said.Result == "":
		return `the answer doesn't say {"result": "Succeeded"}`
	case said.Result != string(pipeline.Succeeded):
		return strings.TrimSuffix(fmt.Sprintf("the answer's result is %.100s: %.500s", said.Result, said.Message), ": ")
	}
	return ""
}

// meetsStates looks at an alerting rule as Prometheus lists it.
func meetsStates(e pipeline.Expectation, body []byte) string {
	state, err := alarmState(e.Alarm, body)
	if err != nil {
		return err.Error()
	}
	if state = cmp.Or(state, pipeline.AlarmInsufficient); slices.Contains(e.States, state) {
		return ""
	}
	return fmt.Sprintf("alarm %s is %s, not %s", e.Alarm, state, strings.Join(e.States, " or "))
}

// alarmState is the state of an alerting rule, as AWS spells it, in Prometheus's
// list of rules; "" if there is none of the name. Of several the worst counts.
func alarmState(name string, body []byte) (string, error) {
	var list struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name   string `json:"name"`
					State  string `json:"state"`
					Health string `json:"health"`
				} `json:"rules"`
			} `json:"groups"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return "", errors.New("the answer isn't Prometheus's list of rules")
	}
	state := ""
	for _, g := range list.Data.Groups {
		for _, r := range g.Rules {
			switch {
			case r.Name != name || state == pipeline.AlarmAlarm:
			case r.State == "firing":
				state = pipeline.AlarmAlarm
			case r.Health == "ok":
				state = pipeline.AlarmOK
			default:
				state = cmp.Or(state, pipeline.AlarmInsufficient)
			}
		}
	}
	return state, nil
}

// meetsThreshold compares all samples of a query's answer; there must be one.
func meetsThreshold(e pipeline.Expectation, body []byte) string {
	samples, err := samplesOf(body)
	limit, parseErr := strconv.ParseFloat(e.Threshold, 64)
	switch {
	case parseErr != nil:
		return "the threshold is no number"
	case err != nil:
		return err.Error()
	case len(samples) == 0:
		return "the query has no data"
	}
	for _, v := range samples {
		if !holds(v, e.Operator, limit) {
			return fmt.Sprintf("the query's value is %g, not %s %s", v, e.Operator, e.Threshold)
		}
	}
	return ""
}

// samplesOf are the values of an instant query: of a vector or a scalar.
func samplesOf(body []byte) ([]float64, error) {
	var answer struct {
		Data struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	bad := fmt.Errorf("the answer isn't one of Prometheus to a query of a vector or a scalar")
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, bad
	}
	var points [][2]any
	switch answer.Data.ResultType {
	case "vector":
		var vector []struct {
			Value [2]any `json:"value"`
		}
		if err := json.Unmarshal(answer.Data.Result, &vector); err != nil {
			return nil, bad
		}
		for _, v := range vector {
			points = append(points, v.Value)
		}
	case "scalar":
		points = make([][2]any, 1)
		if err := json.Unmarshal(answer.Data.Result, &points[0]); err != nil {
			return nil, bad
		}
	default:
		return nil, bad
	}
	var out []float64
	for _, p := range points {
		text, _ := p[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, bad
		}
		out = append(out, v)
	}
	return out, nil
}

// holds compares; what is no number holds nothing.
func holds(v float64, operator string, limit float64) bool {
	if math.IsNaN(v) {
		return false
	}
	switch operator {
	case "<":
		return v < limit
	case "<=":
		return v <= limit
	case ">":
		return v > limit
	case ">=":
		return v >= limit
	case "==":
		return v == limit
	case "!=":
		return v != limit
	}
	return false
}
