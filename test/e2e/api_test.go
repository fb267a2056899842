package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// The answers of the API, as far as the tests look.
type (
	execution struct {
		ID, Repo, Status, Trigger, SHA, Reason, URL, Problem string
		Stages                                               []stage
	}
	stage struct {
		Name, Status string
		Actions      []action
	}
	action struct {
		Name, Status, Build, Outcome string
		Attempt                      int
		Earlier                      []string
	}
	build struct {
		ID, Status string
		Phases     []struct {
			Type, Status string
			Contexts     []struct {
				Code    string `json:"status_code"`
				Message string
			}
		}
		Artifacts []struct {
			Name, Digest string
			Bytes        int64
		}
	}
	delivery struct {
		ID, Event, Action, Verdict, Decision, Reason string
		Executions                                   []string
	}
	page[T any] struct {
		Items []T
		Next  string
	}
)

func (x execution) ended() bool {
	switch x.Status {
	case "Succeeded", "Failed", "Stopped", "Superseded", "Cancelled":
		return true
	}
	return false
}

// buildAction is the action of the implied Build stage.
func (x execution) buildAction() action {
	for _, st := range x.Stages {
		if st.Name == "Build" && len(st.Actions) > 0 {
			return st.Actions[0]
		}
	}
	return action{}
}

// call asks the API. An answer other than 2xx is an error.
func (s *system) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: %w", method, path, err)
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, data)
	}
	if text, ok := out.(*string); ok {
		*text = string(data)
		return nil
	}
	if out == nil || len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, out)
}

// executionsOf are the executions of a commit, newest first.
func (s *system) executionsOf(ctx context.Context, sha string) ([]execution, error) {
	var p page[execution]
	err := s.call(ctx, "GET", "/api/v1/executions?limit=200&sha="+url.QueryEscape(sha), nil, &p)
	return p.Items, err
}

func (s *system) execution(ctx context.Context, id string) (execution, error) {
	var x execution
	return x, s.call(ctx, "GET", "/api/v1/executions/"+id, nil, &x)
}

func (s *system) delivery(ctx context.Context, id string) (delivery, error) {
	var d delivery
	return d, s.call(ctx, "GET", "/api/v1/deliveries/"+id+"?forge=github", nil, &d)
}

// poll is how often a condition is looked at.
const poll = 50 * time.Millisecond

var errLate = errors.New("waited too long")

// until waits for ok, which says what is missing as long as it is.
func until(ctx context.Context, limit time.Duration, ok func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	last := errors.New("never looked")
	for {
		if err := ok(ctx); err == nil {
			return nil
		} else if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%s): %w", context.Cause(ctx), limit, last)
		case <-ticker.C:
		}
	}
}

// await is until for tests.
func await(t testing.TB, limit time.Duration, ok func(ctx context.Context) error) {
	t.Helper()
	if err := until(t.Context(), limit, ok); err != nil {
		t.Fatal(err)
	}
}

// awaitExecution waits for the only execution of a commit, and for its end.
func (s *system) awaitExecution(t testing.TB, sha string) execution {
	t.Helper()
	return s.awaitState(t, sha, func(x execution) bool { return x.ended() })
}

func (s *system) awaitState(t testing.TB, sha string, reached func(execution) bool) (x execution) {
	t.Helper()
	await(t, buildLimit, func(ctx context.Context) error {
		list, err := s.executionsOf(ctx, sha)
		switch {
		case err != nil:
			return err
		case len(list) != 1:
			return fmt.Errorf("%d executions of %s, want 1", len(list), sha)
		}
		if x, err = s.execution(ctx, list[0].ID); err != nil {
			return err
		}
		if !reached(x) {
			return fmt.Errorf("execution %s is %s", x.ID, x.Status)
		}
		return nil
	})
	return x
}
