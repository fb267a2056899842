-- What the scripts of the job queue share. KEYS[1] is the class's base; every
-- other key begins with it, so all are in one slot:
--
--   jobs         hash: ID -> job as JSON; every job that has not ended
--   delayed      sorted set: ID by not-before, ms
--   repos        sorted set: repositories with waiting jobs by virtual start
--   idle         sorted set: repositories without, by virtual finish
--   vtime, seq, token   the virtual time; the last number in line; the last fencing token
--   repo:<repo>  sorted set: waiting IDs by number in line
--   parked:<project>  sorted set: IDs that wait for a place of their project
--   parked       set: projects with parked jobs
--   stream       stream: admitted jobs (id, seq, job, token); never more than
--                waiting slots
--   admitted     hash: ID -> entry of the stream; from there to its taking, which
--                a worker's process or its first renewal does
--   slots        sorted set: waiting slots by expiry, ms
--   leases, lost sorted sets: ID by expiry of its lease; by when it was lost
--   held         hash: ID -> token:worker; an admitted job has no worker yet
--   stop         hash: ID -> why it is to stop
--   running:<project>  set: IDs that are admitted or held
--   ended:<ID>   string: the token that ended it, or removed, or lost
local base = KEYS[1]
local function key(name) return base .. name end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local group = 'workers'

-- enqueue puts a job where its number says into its repository's line. A
-- repository that comes back begins at the present virtual time, or where it
-- stopped if it has had more than its share.
local function enqueue(id, seq, repo)
  redis.call('ZADD', key('repo:' .. repo), seq, id)
  if redis.call('ZSCORE', key('repos'), repo) then return end
  local present = tonumber(redis.call('GET', key('vtime')) or '0')
  local own = tonumber(redis.call('ZSCORE', key('idle'), repo) or '0')
  redis.call('ZADD', key('repos'), math.max(present, own), repo)
  redis.call('ZREM', key('idle'), repo)
end

-- settle notes that a repository's line is empty.
local function settle(repo, at)
  if redis.call('EXISTS', key('repo:' .. repo)) == 1 then
    redis.call('ZADD', key('repos'), at, repo)
    return
  end
  redis.call('ZREM', key('repos'), repo)
  redis.call('ZADD', key('idle'), at, repo)
end

local function promote()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('delayed'), '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', key('delayed'), id)
    enqueue(id, redis.call('INCR', key('seq')), cjson.decode(redis.call('HGET', key('jobs'), id)).repo)
  end
end

local function park(id, seq, project)
  redis.call('ZADD', key('parked:' .. project), seq, id)
  redis.call('SADD', key('parked'), project)
end

-- pick takes the next job that may begin; nil if there is none.
local function pick()
  for _ = 1, 1000 do
    local first = redis.call('ZRANGE', key('repos'), 0, 0, 'WITHSCORES')
    if #first == 0 then return nil end
    local repo, start = first[1], tonumber(first[2])
    local head = redis.call('ZPOPMIN', key('repo:' .. repo))
    local id, seq = head[1], head[2]
    if not id then
      settle(repo, start)
    else
      local json = redis.call('HGET', key('jobs'), id)
      local job = cjson.decode(json)
      local running = key('running:' .. job.project)
      if (job.concurrency or 0) > 0 and redis.call('SCARD', running) >= job.concurrency then
        park(id, seq, job.project)
        settle(repo, start)
      else
        redis.call('SADD', running, id)
        redis.call('SET', key('vtime'), start)
        redis.call('ZREMRANGEBYSCORE', key('idle'), '-inf', start)
        settle(repo, start + 1)
        return id, seq, json
      end
    end
  end
  return nil
end

-- surplus is how many admitted jobs have no waiting slot; negative: how many
-- slots have no job.
local function surplus()
  return redis.call('XLEN', key('stream')) - redis.call('ZCOUNT', key('slots'), now, '+inf')
end

-- lease gives a job its next token and its time.
local function lease(id, worker, ms)
  local token = redis.call('INCR', key('token'))
  redis.call('HSET', key('held'), id, token .. ':' .. worker)
  redis.call('ZADD', key('leases'), now + ms, id)
  return token
end

-- admit gives jobs to the slots that wait for one. Its lease begins at once, so
-- that whoever reads the entry may begin.
local function admit(ms)
  local free = -surplus()
  if free <= 0 then return end
  promote()
  for _ = 1, free do
    local id, seq, json = pick()
    if not id then return end
    local token = lease(id, '', ms)
    redis.call('HSET', key('admitted'), id, redis.call('XADD', key('stream'), '*', 'id', id, 'seq', seq, 'job', json, 'token', token))
  end
end

-- release gives a place of a project to the first job that waits for one.
local function release(project)
  local parked = key('parked:' .. project)
  local head = redis.call('ZPOPMIN', parked)
  if head[1] then
    enqueue(head[1], head[2], cjson.decode(redis.call('HGET', key('jobs'), head[1])).repo)
  end
  if redis.call('EXISTS', parked) == 0 then redis.call('SREM', key('parked'), project) end
end

-- taken takes an admitted job's entry off. False: it was taken before.
local function taken(id)
  local entry = redis.call('HGET', key('admitted'), id)
  if not entry then return false end
  redis.call('XACK', key('stream'), group, entry)
  redis.call('XDEL', key('stream'), entry)
  redis.call('HDEL', key('admitted'), id)
  return true
end

-- drop makes a job nobody's.
local function drop(id)
  redis.call('HDEL', key('held'), id)
  redis.call('ZREM', key('leases'), id)
  redis.call('HDEL', key('stop'), id)
end

-- forget ends a job.
local function forget(id, mark, ttl)
  local job = cjson.decode(redis.call('HGET', key('jobs'), id))
  taken(id)
  drop(id)
  redis.call('HDEL', key('jobs'), id)
  redis.call('SREM', key('running:' .. job.project), id)
  redis.call('SET', key('ended:' .. id), mark, 'PX', ttl)
  release(job.project)
end

-- back returns an admitted job to where it was in line; its token is stale.
local function back(id, seq)
  if not taken(id) then return end
  drop(id)
  local job = cjson.decode(redis.call('HGET', key('jobs'), id))
  redis.call('SREM', key('running:' .. job.project), id)
  enqueue(id, seq, job.repo)
end

-- undelivered says whether nobody has read an entry.
local function undelivered(entry)
  return #redis.call('XPENDING', key('stream'), group, entry, entry, 1) == 0
end

-- holds says whether the token is that of the job's present holder.
local function holds(id, token)
  local held = redis.call('HGET', key('held'), id)
  return held and string.match(held, '^(%d+):') == token
end

-- leave takes a slot away, and moves what was admitted for it back in line.
local function leave(slot)
  redis.call('ZREM', key('slots'), slot)
  local n = surplus()
  if n <= 0 then return end
  for _, e in ipairs(redis.call('XREVRANGE', key('stream'), '+', '-', 'COUNT', n)) do
    if undelivered(e[1]) then back(e[2][2], e[2][4]) end
  end
end
