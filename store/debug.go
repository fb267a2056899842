package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// keepDebugging is how long a session that nothing is said in is known.
	keepDebugging = 3 * time.Hour
	// debugFrames is how many frames of a side may wait to be read.
	debugFrames = 256
	// debugRoom is how long a side waits for room, looking every debugPause.
	debugRoom  = 10 * time.Second
	debugPause = 50 * time.Millisecond
	// watchedFor is how long the person counts as there after they have asked.
	watchedFor = time.Minute
)

// OpenDebugging notes that somebody wants to look into a build that is still to
// begin. ErrConflict: somebody does already.
func (s *Store) OpenDebugging(ctx context.Context, build string, d pipeline.Debugging) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding a debugging session: %w", err)
	}
	fresh, err := s.rdb.SetNX(ctx, debugKeys(build).session(), data, keepDebugging).Result()
	if err == nil && !fresh {
		err = fmt.Errorf("somebody debugs build %s already: %w", build, pipeline.ErrConflict)
	}
	return wrapped("opening a debugging session", err)
}

// CloseDebugging forgets a session.
func (s *Store) CloseDebugging(ctx context.Context, build string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	k := debugKeys(build)
	return wrapped("closing a debugging session", s.rdb.Del(ctx, k.session(), k.frames(pipeline.FromPerson), k.frames(pipeline.FromBuild), k.watched()).Err())
}

// Debugging is a build's session. ErrNotFound: there is none.
func (s *Store) Debugging(ctx context.Context, build string) (pipeline.Debugging, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var d pipeline.Debugging
	data, err := s.rdb.Get(ctx, debugKeys(build).session()).Bytes()
	if errors.Is(err, redis.Nil) {
		return d, fmt.Errorf("debugging of build %s: %w", build, pipeline.ErrNotFound)
	}
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	return d, wrapped("loading a debugging session", err)
}

// sayDebug adds frames to a side, all or none.
//
//	KEYS  session, frames
//	ARGV  how many may wait, ms to keep them, channel, frames as JSON
//	returns 1; 0 if there is no room; -1 if there is no session
var sayDebug = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[1]) then return 0 end
for i = 4, #ARGV do redis.call('XADD', KEYS[2], '*', 'v', ARGV[i]) end
for i = 1, 2 do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
redis.call('PUBLISH', ARGV[3], 1)
return 1`)

// AddDebugFrames says something in a session. It waits for a while if the other
// side is behind. ErrNotFound: there is no session; ErrConflict: nobody reads.
func (s *Store) AddDebugFrames(ctx context.Context, build string, side pipeline.DebugSide, frames []pipeline.DebugFrame) error {
	k := debugKeys(build)
	args := []any{debugFrames, keepDebugging.Milliseconds(), k.channel(side)}
	for _, f := range frames {
		data, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("encoding a frame: %w", err)
		}
		args = append(args, data)
	}
	tick := time.NewTicker(debugPause)
	defer tick.Stop()
	for until := time.Now().Add(debugRoom); ; {
		said, err := s.run(ctx, sayDebug, []string{k.session(), k.frames(side)}, args...).Int()
		switch {
		case err != nil:
			return wrapped("adding to a debugging session", err)
		case said < 0:
			return fmt.Errorf("debugging of build %s: %w", build, pipeline.ErrNotFound)
		case said > 0:
			return nil
		case time.Now().After(until):
			return fmt.Errorf("nobody reads what is said while build %s is debugged: %w", build, pipeline.ErrConflict)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// hearDebug forgets what a side said up to a place, and tells what comes next.
//
//	KEYS  session, frames, watched
//	ARGV  place or nothing, ms that the reader counts as there; 0: it isn't one who is watched for
//	returns {1 if the person is there, entries...}, or {} if there is no session
var hearDebug = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
if ARGV[1] ~= '' then
  for _, e in ipairs(redis.call('XRANGE', KEYS[2], '-', ARGV[1])) do redis.call('XDEL', KEYS[2], e[1]) end
end
if ARGV[2] ~= '0' then redis.call('SET', KEYS[3], 1, 'PX', ARGV[2]) end
local out = {tostring(redis.call('EXISTS', KEYS[3]))}
for _, e in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 64)) do
  out[#out + 1] = e[1]
  out[#out + 1] = e[2][2]
end
return out`)

// DebugFrames waits up to wait for what a side said after a place, and forgets
// what lies before it; empty: from the beginning. ErrNotFound: there is no session.
func (s *Store) DebugFrames(ctx context.Context, build string, side pipeline.DebugSide, after string, wait time.Duration) (pipeline.DebugFrames, error) {
	if after != "" && !streamID.MatchString(after) {
		return pipeline.DebugFrames{}, &pipeline.UserError{Code: "INVALID_PLACE", Msg: "after: not a place in a debugging session"}
	}
	out, err := s.heardDebug(ctx, build, side, after)
	if err != nil || len(out.Frames) > 0 || wait <= 0 {
		return out, err
	}
	err = s.wait(ctx, debugKeys(build).channel(side), wait, func(ctx context.Context) (bool, error) {
		now, err := s.heardDebug(ctx, build, side, after)
		return len(now.Frames) > 0, err
	})
	if err != nil {
		return out, err
	}
	return s.heardDebug(ctx, build, side, after)
}

func (s *Store) heardDebug(ctx context.Context, build string, side pipeline.DebugSide, after string) (pipeline.DebugFrames, error) {
	k, out := debugKeys(build), pipeline.DebugFrames{Frames: []pipeline.DebugFrame{}, Next: after}
	watched := watchedFor
	if side == pipeline.FromPerson { // whom the build's side hears
		watched = 0
	}
	got, err := s.run(ctx, hearDebug, []string{k.session(), k.frames(side), k.watched()}, after, watched.Milliseconds()).StringSlice()
	if err == nil && len(got) == 0 {
		err = fmt.Errorf("debugging of build %s: %w", build, pipeline.ErrNotFound)
	}
	if err != nil {
		return out, wrapped("reading a debugging session", err)
	}
	out.Watched = got[0] == "1"
	for i := 1; i+1 < len(got); i += 2 {
		var f pipeline.DebugFrame
		if err := json.Unmarshal([]byte(got[i+1]), &f); err != nil {
			return out, fmt.Errorf("decoding a frame: %w", err)
		}
		out.Frames, out.Next = append(out.Frames, f), got[i]
	}
	return out, nil
}
