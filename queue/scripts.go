package queue

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

//go:embed jobs.lua
var jobsLua string

func jobScript(body string) *redis.Script { return redis.NewScript(jobsLua + body) }

// addJob adds a job unless its ID is known.
//
//	KEYS  base
//	ARGV  ID, repository, job as JSON, not before in ms (0: at once), ms of a lease
//	returns 1, or 0 if it was added before
var addJob = jobScript(`
local id = ARGV[1]
if redis.call('EXISTS', key('ended:' .. id)) == 1 then return 0 end
if redis.call('HSETNX', key('jobs'), id, ARGV[3]) == 0 then return 0 end
if tonumber(ARGV[4]) > now then
  redis.call('ZADD', key('delayed'), ARGV[4], id)
else
  enqueue(id, redis.call('INCR', key('seq')), ARGV[2])
end
admit(ARGV[5])
return 1`)

// joinClass gives a slot a job at once if one may begin, else notes that the
// slot waits.
//
//	KEYS  base
//	ARGV  slot, worker, ms that the slot waits, ms of a lease
//	returns {job as JSON, token}, or {ms until the next delayed job is due, -1: none}
var joinClass = jobScript(`
if redis.call('EXISTS', key('stream')) == 0 then
  redis.call('XGROUP', 'CREATE', key('stream'), group, '0', 'MKSTREAM')
end
redis.call('ZREMRANGEBYSCORE', key('slots'), '-inf', now)
redis.call('ZREM', key('slots'), ARGV[1])
promote()
if surplus() <= 0 then
  local id, _, json = pick()
  if id then return {json, lease(id, ARGV[2], tonumber(ARGV[4]))} end
end
redis.call('ZADD', key('slots'), now + ARGV[3], ARGV[1])
local due = redis.call('ZRANGE', key('delayed'), 0, 0, 'WITHSCORES')
if due[2] then return {math.max(0, due[2] - now)} end
return {-1}`)

// leaveClass takes a slot away.
//
//	KEYS  base
//	ARGV  slot
var leaveClass = jobScript(`leave(ARGV[1]) return 1`)

// takeJob notes that the slot has read its job's entry, and whose it is.
//
//	KEYS  base
//	ARGV  slot, worker, ID, token, ms of a lease
//	returns 1, or 0 if the token is stale
var takeJob = jobScript(`
redis.call('ZREM', key('slots'), ARGV[1])
if not holds(ARGV[3], ARGV[4]) or not redis.call('ZSCORE', key('leases'), ARGV[3]) then return 0 end
taken(ARGV[3])
redis.call('HSET', key('held'), ARGV[3], ARGV[4] .. ':' .. ARGV[2])
redis.call('ZADD', key('leases'), now + ARGV[5], ARGV[3])
return 1`)

// returnJob gives back an entry that was read and can't be used.
//
//	KEYS  base
//	ARGV  ID, token, number in line, ms of a lease
var returnJob = jobScript(`
if holds(ARGV[1], ARGV[2]) then back(ARGV[1], ARGV[3]) end
admit(ARGV[4])
return 1`)

// renewJob extends a lease.
//
//	KEYS  base
//	ARGV  ID, token, ms of a lease
//	returns {worker}, {worker, why it is to stop}, or {} if the token is stale
var renewJob = jobScript(`
local id = ARGV[1]
if not holds(id, ARGV[2]) or not redis.call('ZSCORE', key('leases'), id) then return {} end
redis.call('ZADD', key('leases'), now + ARGV[3], id)
taken(id)
local worker = string.match(redis.call('HGET', key('held'), id), '^%d+:(.*)$')
local why = redis.call('HGET', key('stop'), id)
if why then return {worker, why} end
return {worker}`)

// checkJob answers 1 if the token holds the job.
//
//	KEYS  base
//	ARGV  ID, token
var checkJob = jobScript(`
if holds(ARGV[1], ARGV[2]) and redis.call('ZSCORE', key('leases'), ARGV[1]) then return 1 end
return 0`)

// finishJob ends a held job.
//
//	KEYS  base
//	ARGV  ID, token, ms to remember it, set that it must be in (leases, lost),
//	      mark, which answers a repeat, ms of a lease
//	returns 1, or 0 if the token is stale
var finishJob = jobScript(`
local id = ARGV[1]
local mark = redis.call('GET', key('ended:' .. id))
if mark then
  if mark == ARGV[5] then return 1 end
  return 0
end
if not holds(id, ARGV[2]) or redis.call('ZREM', key(ARGV[4]), id) == 0 then return 0 end
forget(id, ARGV[5], ARGV[3])
admit(ARGV[6])
return 1`)

// cancelJob takes a waiting job out, or marks a held one.
//
//	KEYS  base
//	ARGV  ID, why, ms to remember it, ms of a lease
//	returns 1: it was taken out, now or by an earlier call; 0: its holder will
//	be told; -1: it has ended or was never added
var cancelJob = jobScript(`
local id = ARGV[1]
local mark = redis.call('GET', key('ended:' .. id))
if mark == 'removed' then return 1 end
local json = redis.call('HGET', key('jobs'), id)
if mark or not json then return -1 end
local entry = redis.call('HGET', key('admitted'), id)
if redis.call('HEXISTS', key('held'), id) == 1 and not (entry and undelivered(entry)) then
  redis.call('HSETNX', key('stop'), id, ARGV[2])
  return 0
end
local job = cjson.decode(json)
redis.call('ZREM', key('delayed'), id)
redis.call('ZREM', key('parked:' .. job.project), id)
if redis.call('ZREM', key('repo:' .. job.repo), id) == 1 then
  settle(job.repo, redis.call('ZSCORE', key('repos'), job.repo))
end
forget(id, 'removed', ARGV[3])
admit(ARGV[4])
return 1`)

// sweepClass revokes the leases that ran out, moves back in line what was
// admitted and never taken, and repairs what a crash could leave.
//
//	KEYS  base
//	ARGV  ms of a lease, limit
//	returns {job as JSON, token, job as JSON, token, ...} of lost jobs
var sweepClass = jobScript(`
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local entry = redis.call('HGET', key('admitted'), id)
  if entry then
    local e = redis.call('XRANGE', key('stream'), entry, entry)[1]
    back(id, e and e[2][4] or redis.call('INCR', key('seq')))
  else
    redis.call('ZREM', key('leases'), id)
    redis.call('ZADD', key('lost'), now, id)
  end
end
redis.call('ZREMRANGEBYSCORE', key('slots'), '-inf', now)
if redis.call('EXISTS', key('stream')) == 1 then
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', key('stream'), group)) do
    local f = {}
    for i = 1, #c, 2 do f[c[i]] = c[i + 1] end
    if f.pending == 0 and f.idle > 3600000 then redis.call('XGROUP', 'DELCONSUMER', key('stream'), group, f.name) end
  end
end
for _, project in ipairs(redis.call('SRANDMEMBER', key('parked'), 100)) do
  local first = redis.call('ZRANGE', key('parked:' .. project), 0, 0)[1]
  local limit = first and cjson.decode(redis.call('HGET', key('jobs'), first)).concurrency or 0
  if redis.call('SCARD', key('running:' .. project)) < limit then release(project) end
end
admit(ARGV[1])
local answer = {}
for _, id in ipairs(redis.call('ZRANGE', key('lost'), 0, ARGV[2] - 1)) do
  answer[#answer + 1] = redis.call('HGET', key('jobs'), id)
  answer[#answer + 1] = string.match(redis.call('HGET', key('held'), id), '^(%d+):')
end
return answer`)

// countClass counts a class's jobs.
//
//	KEYS  base
//	returns {all, delayed, admitted, admitted or held, lost, slots}
var countClass = jobScript(`
return {redis.call('HLEN', key('jobs')), redis.call('ZCARD', key('delayed')), redis.call('XLEN', key('stream')),
  redis.call('ZCARD', key('leases')), redis.call('ZCARD', key('lost')), redis.call('ZCOUNT', key('slots'), now, '+inf')}`)

// placeInLine estimates how many jobs begin before one.
//
//	KEYS  base
//	ARGV  ID
//	returns the number, or -1 if the job does not wait
var placeInLine = jobScript(`
local json = redis.call('HGET', key('jobs'), ARGV[1])
if not json or redis.call('HEXISTS', key('held'), ARGV[1]) == 1 then return -1 end
local job = cjson.decode(json)
local before = redis.call('XLEN', key('stream'))
local rank = redis.call('ZRANK', key('repo:' .. job.repo), ARGV[1])
if not rank then
  rank = (redis.call('ZRANK', key('parked:' .. job.project), ARGV[1]) or 0) + redis.call('ZCARD', key('repo:' .. job.repo))
end
for _, repo in ipairs(redis.call('ZRANGE', key('repos'), 0, 199)) do
  if repo ~= job.repo then before = before + math.min(redis.call('ZCARD', key('repo:' .. repo)), rank + 1) end
end
return before + rank`)

// heldJobs are who holds what in a class.
//
//	KEYS  base
//	returns {ID, token:worker, ...}
var heldJobs = jobScript(`return redis.call('HGETALL', key('held'))`)
