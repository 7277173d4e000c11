"""What Redis does in one step: the Lua scripts. Running one twice does no harm."""

from __future__ import annotations

from .keys import Script

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# opening: 1, or 0 where the key is known; the same nonce again is the same opening, its first answer was lost;
# one that was called off before it came is none
OPEN = Script("""
if redis.call('GET', KEYS[3]) == ARGV[1] then return 0 end
local known = redis.call('HGET', KEYS[1], 'opened')
if known then return known == ARGV[1] and 1 or 0 end
redis.call('HSET', KEYS[1], 'opened', ARGV[1], 'put', ARGV[1], 'record', ARGV[2], 'version', ARGV[3], 'ended', 0)
return 1
""")

CREATED = 2
"""What PUT says of a record that nobody opened."""

# news: 1, or 0 where what is known is newer or terminal
PUT = Script("""
local known = redis.call('HMGET', KEYS[1], 'put', 'version', 'ended')
if known[1] == ARGV[1] then return 1 end
if known[1] and (known[3] == '1' or tonumber(known[2]) >= tonumber(ARGV[3])) then return 0 end
redis.call('HSETNX', KEYS[1], 'opened', ARGV[1])
redis.call('HSET', KEYS[1], 'put', ARGV[1], 'record', ARGV[2], 'version', ARGV[3], 'ended', ARGV[4])
redis.call('DEL', KEYS[2])
for at = 6, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
if ARGV[4] == '1' then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return known[1] and 1 or 2
""")

# away with it; with a nonce, only where that opening made it, or is still to come
FORGET = Script("""
if ARGV[1] ~= '' then
  redis.call('SET', KEYS[3], ARGV[1], 'PX', 60000)
  if redis.call('HGET', KEYS[1], 'opened') ~= ARGV[1] then return 0 end
end
return redis.call('DEL', KEYS[1], KEYS[2])
""")

# a lease, and the index entry: {whether this replica was unknown, whether the lease is ours}
TRACK = Script(
    _NOW
    + """
local fresh = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if ARGV[4] ~= '' then redis.call('ZADD', KEYS[4], 'NX', ARGV[4], ARGV[3]) end
local holder = redis.call('HGET', KEYS[3], ARGV[3])
if holder and holder ~= ARGV[1] then
  local ends = redis.call('ZSCORE', KEYS[1], holder)
  if ends and tonumber(ends) > now then return {fresh, 0} end
  redis.call('ZREM', KEYS[2], holder .. ':' .. ARGV[3])
end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[2], 0, ARGV[1] .. ':' .. ARGV[3])
return {fresh, 1}
"""
)

# the end of a lease: 'ended' whoever has it, and out of the index where that entry is as old as ours;
# 'released' ours; 'left' ours, to be an orphan's at once
DROP = Script("""
local holder = redis.call('HGET', KEYS[3], ARGV[2])
if ARGV[3] == 'ended' then
  local created = redis.call('ZSCORE', KEYS[4], ARGV[2])
  if created and ARGV[4] ~= '' and tonumber(created) ~= tonumber(ARGV[4]) then return 0 end
  redis.call('ZREM', KEYS[4], ARGV[2])
elseif holder ~= ARGV[1] then
  return 0
end
if holder then
  redis.call('ZREM', KEYS[2], holder .. ':' .. ARGV[2])
  redis.call('HDEL', KEYS[3], ARGV[2])
end
if ARGV[3] == 'left' then
  redis.call('ZADD', KEYS[1], 0, '-')
  redis.call('HSET', KEYS[3], ARGV[2], '-')
  redis.call('ZADD', KEYS[2], 0, '-:' .. ARGV[2])
end
return 1
""")

# the jobs of replicas that died, now ours: {whether this replica was unknown, the jobs}
REAP = Script(
    _NOW
    + """
local fresh = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local taken = {}
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  local room = ARGV[3] - #taken
  local held = redis.call('ZRANGEBYLEX', KEYS[2], '[' .. dead .. ':', '(' .. dead .. ';', 'LIMIT', 0, room)
  for _, lease in ipairs(held) do
    local job = string.sub(lease, #dead + 2)
    redis.call('ZREM', KEYS[2], lease)
    redis.call('HSET', KEYS[3], job, ARGV[1])
    redis.call('ZADD', KEYS[2], 0, ARGV[1] .. ':' .. job)
    taken[#taken + 1] = job
  end
  if #held == room then break end
  redis.call('ZREM', KEYS[1], dead)
end
return {fresh, taken}
"""
)

# a heartbeat: {whether this replica was unknown, whether another waits for a permit}
BEAT = Script(
    _NOW
    + """
local fresh = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local waits = 0
for _, who in ipairs(redis.call('HKEYS', KEYS[3])) do if who ~= ARGV[1] then waits = 1 end end
return {fresh, waits}
"""
)

# this replica has so many permits and waits for none; said to all
GIVE = Script("""
redis.call('HDEL', KEYS[2], ARGV[1])
if tonumber(ARGV[2]) > 0 then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
""")

# this replica goes: its permits are free, its jobs are orphans at once
QUIT = Script("""
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
local held = redis.call('ZRANGEBYLEX', KEYS[4], '[' .. ARGV[1] .. ':', '(' .. ARGV[1] .. ';', 'LIMIT', 0, 1)
if #held > 0 then redis.call('ZADD', KEYS[1], 0, ARGV[1]) else redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
""")

# permits, as many of those wanted as are free and nobody waits for longer: {replica was unknown, granted, others wait}
TAKE = Script(
    _NOW
    + """
local me, held, want = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local fresh = redis.call('ZADD', KEYS[1], now + ARGV[2], me)
local function alive(who)
  local ends = redis.call('ZSCORE', KEYS[1], who)
  return ends and tonumber(ends) > now
end
local used, since, others, older = held, nil, 0, 0
local permits = redis.call('HGETALL', KEYS[2])
for at = 1, #permits, 2 do
  if permits[at] ~= me then
    if alive(permits[at]) then used = used + permits[at + 1] else redis.call('HDEL', KEYS[2], permits[at]) end
  end
end
local mine = redis.call('HGET', KEYS[3], me)
since = mine and tonumber(string.match(mine, '^%d+')) or now
local wanting = redis.call('HGETALL', KEYS[3])
for at = 1, #wanting, 2 do
  if wanting[at] ~= me then
    local first, last = string.match(wanting[at + 1], '^(%d+):(%d+)$')
    if alive(wanting[at]) and now - last < 2000 then
      others = 1
      if tonumber(first) < since or (tonumber(first) == since and wanting[at] < me) then older = older + 1 end
    else
      redis.call('HDEL', KEYS[3], wanting[at])
    end
  end
end
local granted = math.max(0, math.min(want, ARGV[5] - used - older))
if held + granted > 0 then redis.call('HSET', KEYS[2], me, held + granted) else redis.call('HDEL', KEYS[2], me) end
if granted < want then
  if granted > 0 then since = now end
  redis.call('HSET', KEYS[3], me, string.format('%.0f:%.0f', since, now))
  redis.call('PUBLISH', ARGV[6], ARGV[7])
else
  redis.call('HDEL', KEYS[3], me)
end
return {fresh, granted, others}
"""
)

# so many places in the account's row, so far apart: microseconds until the first
RESERVE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local first = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local after = first + ARGV[1] * ARGV[2]
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.floor((after - now) / 1000) + 1000)
return first - now
""")

# nobody begins for so many microseconds; said to all
HOLD = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local after = math.max(now + ARGV[1], tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.floor((after - now) / 1000) + 1000)
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
""")

# a bell, where there is such a job
RING = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
""")

# a page of an account's unfinished jobs
PAGE = Script("return redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])")

ALL = (OPEN, PUT, FORGET, TRACK, DROP, REAP, BEAT, GIVE, QUIT, TAKE, RESERVE, HOLD, RING, PAGE)
