"""Lua scripts: the steps that Redis carries out atomically.

Redis runs one script at a time, so a script needs no lock. It touches keys of one hash tag only, which a cluster keeps
on one node. Time is always the server's (TIME), never a replica's clock.

    keys of a job      record      hash: JSON `record`, its `epoch` and `version`, `ended` and `taken` (0 or 1), and the
                                   nonces `opened` and `put`
                       parts       hash: media of the result by part name
                       off         nonce of a creation that was cancelled, for 60 seconds
    keys of an         replicas    sorted set: replica -> end of its lease in ms; `-` holds jobs that were handed over
    account            held        sorted set of `replica:job`, all with score 0, so that one replica's jobs are a range
                       holders     hash: job -> replica
                       unfinished  sorted set: job -> creation time in seconds; the index of unfinished jobs
                       permits     hash: replica -> submit slots it holds
                       wanting     hash: replica -> `since:last`, waiting for a slot since and last asked at, in ms
                       next        start time of the account's next request, in microseconds
    keys of all        accounts    set of the digests of all accounts
                       server      run id of the server on which the data were last used
                       quiet       exists while nothing new is opened

Invariants: a terminal record changes only by a later epoch, and a version never decreases. `held` and `holders` list
the same leases.
REQUEST_SLOTS grants no slot beyond the limit it is given, counting those of all living replicas.

A client runs a script again when the connection broke before the reply, which leaves the data in the same state: CREATE
and UPDATE recognise their nonce, the others set what they state. Some repetitions are visible: RESERVE reserves twice
(only a delay), FORWARD delivers twice (one more query), UPDATE answers 1 instead of 2, ADOPT returns its jobs once.
"""

from __future__ import annotations

from .keys import Script

MISSING, REFUSED, WRITTEN, CREATED, TAKEN_OVER = -1, 0, 1, 2, 3
"""What UPDATE returns; DELETE returns `MISSING`, too."""
DELETED = 1
"""What DELETE returns for a record that it deleted."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# CREATE: insert a new record, unless its key exists.
#   KEYS     record, parts, off
#   ARGV     1 nonce, 2 JSON, 3 epoch, 4 version
#   returns  1 inserted, now or by an earlier run with this nonce; 0 the key exists, or DELETE cancelled this nonce
CREATE = Script("""
if redis.call('GET', KEYS[3]) == ARGV[1] then return 0 end
local known = redis.call('HGET', KEYS[1], 'opened')
if known then return known == ARGV[1] and 1 or 0 end
redis.call('HSET', KEYS[1], 'opened', ARGV[1], 'put', ARGV[1], 'record', ARGV[2], 'epoch', ARGV[3], 'version', ARGV[4],
  'ended', 0)
return 1
""")

# UPDATE: write a newer version (`Record.replaceable_by`) with its media; a terminal one then expires.
#   KEYS     record, parts, off
#   ARGV     1 nonce, 2 JSON, 3 epoch, 4 version, 5 terminal (0 or 1), 6 ms until a terminal one expires,
#            7 insert a record that does not exist (0 or 1); 2 also writes any later epoch, not only one that was made
#            of the stored version, for a server that has forgotten the versions between,
#            8, 9 name and bytes of a part, 10, 11 of the next …
#   returns  3 written, of a later epoch than the one before; 2 inserted; 1 written; 0 the stored one must stay;
#            -1 there is none. An earlier run with this nonce counts as written.
UPDATE = Script("""
local known = redis.call('HMGET', KEYS[1], 'put', 'epoch', 'version', 'ended')
local result = 2
if known[1] then
  if known[1] == ARGV[1] then return 1 end
  local epoch, version = tonumber(known[2] or 0), tonumber(known[3])
  if tonumber(ARGV[3]) == epoch then
    if known[4] == '1' or version >= tonumber(ARGV[4]) then return 0 end
    result = 1
  else
    if tonumber(ARGV[3]) < epoch or (ARGV[7] ~= '2' and version + 1 ~= tonumber(ARGV[4])) then return 0 end
    result = 3
  end
elseif ARGV[7] == '0' then
  return -1
end
redis.call('HSETNX', KEYS[1], 'opened', ARGV[1])
redis.call('HSET', KEYS[1], 'put', ARGV[1], 'record', ARGV[2], 'epoch', ARGV[3], 'version', ARGV[4], 'ended', ARGV[5],
  'taken', 0)
redis.call('DEL', KEYS[2])
for i = 8, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if ARGV[5] == '1' then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
elseif result == 3 then
  redis.call('PERSIST', KEYS[1])
end
return result
""")

# NOTE: replace this very version of a record by one with a note.
#   KEYS     record, parts, off
#   ARGV     1 epoch, 2 version, 3 record
#   returns  1; 0 if it is unknown, or another version
NOTE = Script("""
local known = redis.call('HMGET', KEYS[1], 'epoch', 'version')
if tonumber(known[1] or 0) ~= tonumber(ARGV[1]) or tonumber(known[2]) ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[3])
return 1
""")

# ACKNOWLEDGE: note that the result of an ended job was taken; from now on it expires.
#   KEYS     record, parts, off
#   ARGV     1 epoch, 2 ms until it expires
#   returns  1; 0 if the record is unknown, has not ended, or is of another epoch
ACKNOWLEDGE = Script("""
local known = redis.call('HMGET', KEYS[1], 'epoch', 'ended')
if known[2] ~= '1' or tonumber(known[1] or 0) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'taken', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
""")

# DELETE: delete this very version of a record, and its media. With a nonce, only if this creation inserted it: another
# client may have taken it over since; a CREATE of the same nonce that is still on its way then inserts nothing.
#   KEYS     record, parts, off
#   ARGV     1 nonce, or an empty string, 2 epoch, 3 version
#   returns  1 deleted; 0 it is another version, or was inserted by another creation; -1 there is none
DELETE = Script("""
if ARGV[1] ~= '' then redis.call('SET', KEYS[3], ARGV[1], 'PX', 60000) end
local known = redis.call('HMGET', KEYS[1], 'opened', 'epoch', 'version')
if not known[1] then return -1 end
if ARGV[1] ~= '' and known[1] ~= ARGV[1] then return 0 end
if tonumber(known[2] or 0) ~= tonumber(ARGV[2]) or tonumber(known[3]) ~= tonumber(ARGV[3]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
""")

# LEASE: lease a job to this replica, unless a living one holds it, and put it into the index. Renews the replica.
#   KEYS     replicas, held, holders, unfinished
#   ARGV     1 replica, 2 lease in ms, 3 job, 4 creation time, or an empty string to leave the index alone
#   returns  {1 if Redis did not know this replica else 0, 1 if the lease is ours else 0}
LEASE = Script(
    _NOW
    + """
local unknown = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if ARGV[4] ~= '' then redis.call('ZADD', KEYS[4], 'NX', ARGV[4], ARGV[3]) end
local holder = redis.call('HGET', KEYS[3], ARGV[3])
if holder and holder ~= ARGV[1] then
  local ends = redis.call('ZSCORE', KEYS[1], holder)
  if ends and tonumber(ends) > now then return {unknown, 0} end
  redis.call('ZREM', KEYS[2], holder .. ':' .. ARGV[3])
end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[2], 0, ARGV[1] .. ':' .. ARGV[3])
return {unknown, 1}
"""
)

# END_LEASE: end the lease of a job. `ended`: whichever replica holds it, and remove the index entry, unless that is of
# another creation time (a later job with the same key). `released`: only ours. `left`: only ours, which becomes a lease
# of the replica `-`, which is always expired, so that the job is an orphan immediately.
#   KEYS     replicas, held, holders, unfinished
#   ARGV     1 replica, 2 job, 3 mode, 4 creation time, or an empty string for any
#   returns  1 done; 0 the lease is not ours, or the index entry is of another job
END_LEASE = Script("""
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

# ADOPT: lease jobs of expired replicas to this replica, and forget expired replicas that hold none. Renews the replica.
#   KEYS     replicas, held, holders, unfinished
#   ARGV     1 replica, 2 lease in ms, 3 number of jobs at most
#   returns  {1 if Redis did not know this replica else 0, {job, …}}
ADOPT = Script(
    _NOW
    + """
local unknown = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local adopted = {}
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  local room = ARGV[3] - #adopted
  -- ';' follows ':' in ASCII: the range is all entries that start with the replica and a colon
  local held = redis.call('ZRANGEBYLEX', KEYS[2], '[' .. dead .. ':', '(' .. dead .. ';', 'LIMIT', 0, room)
  for _, lease in ipairs(held) do
    local job = string.sub(lease, #dead + 2)
    redis.call('ZREM', KEYS[2], lease)
    redis.call('HSET', KEYS[3], job, ARGV[1])
    redis.call('ZADD', KEYS[2], 0, ARGV[1] .. ':' .. job)
    adopted[#adopted + 1] = job
  end
  -- it may hold more: keep it for the next run
  if #held == room then break end
  redis.call('ZREM', KEYS[1], dead)
end
return {unknown, adopted}
"""
)

# HEARTBEAT: renew this replica, and with it all its leases and slots in the account.
#   KEYS     replicas, permits, wanting
#   ARGV     1 replica, 2 lease in ms
#   returns  {1 if Redis did not know this replica else 0, 1 if another replica waits for a slot else 0}
HEARTBEAT = Script(
    _NOW
    + """
local unknown = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local demand = 0
for _, replica in ipairs(redis.call('HKEYS', KEYS[3])) do if replica ~= ARGV[1] then demand = 1 end end
return {unknown, demand}
"""
)

# LEAVE: a replica closes. Its slots are free; jobs it still holds are orphans immediately.
#   KEYS     replicas, permits, wanting, held
#   ARGV     1 replica, 2 channel, 3 message `free`
#   returns  1
LEAVE = Script("""
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
local held = redis.call('ZRANGEBYLEX', KEYS[4], '[' .. ARGV[1] .. ':', '(' .. ARGV[1] .. ';', 'LIMIT', 0, 1)
if #held > 0 then redis.call('ZADD', KEYS[1], 0, ARGV[1]) else redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
""")

# REPORT_SLOTS: this replica holds so many slots and waits for none.
#   KEYS     replicas, permits, wanting
#   ARGV     1 replica, 2 slots held, 3 channel, 4 message `free`
#   returns  1
REPORT_SLOTS = Script("""
redis.call('HDEL', KEYS[2], ARGV[1])
if tonumber(ARGV[2]) > 0 then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
""")

# REQUEST_SLOTS: grant slots, as many as are asked for and free, less one for each replica that has waited longer.
# What is not granted is registered as waiting and published. Slots of expired replicas, and waiting entries that were
# not renewed for 2 seconds, are removed. ARGV 3 replaces what was stored, so a second run grants nothing twice.
#   KEYS     replicas, permits, wanting
#   ARGV     1 replica, 2 lease in ms, 3 slots held, 4 slots wanted besides, 5 limit, 6 channel, 7 message `want`
#   returns  {1 if Redis did not know this replica else 0, slots granted, 1 if another replica waits else 0}
REQUEST_SLOTS = Script(
    _NOW
    + """
local me, held, wanted = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local unknown = redis.call('ZADD', KEYS[1], now + ARGV[2], me)
local function alive(replica)
  local ends = redis.call('ZSCORE', KEYS[1], replica)
  return ends and tonumber(ends) > now
end
local used, others, older = held, 0, 0
local slots = redis.call('HGETALL', KEYS[2])
for i = 1, #slots, 2 do
  if slots[i] ~= me then
    if alive(slots[i]) then used = used + slots[i + 1] else redis.call('HDEL', KEYS[2], slots[i]) end
  end
end
local mine = redis.call('HGET', KEYS[3], me)
local since = mine and tonumber(string.match(mine, '^%d+')) or now
local waiting = redis.call('HGETALL', KEYS[3])
for i = 1, #waiting, 2 do
  if waiting[i] ~= me then
    local first, last = string.match(waiting[i + 1], '^(%d+):(%d+)$')
    if alive(waiting[i]) and now - last < 2000 then
      others = 1
      -- of two that began to wait in the same millisecond, the smaller id counts as older
      if tonumber(first) < since or (tonumber(first) == since and waiting[i] < me) then older = older + 1 end
    else
      redis.call('HDEL', KEYS[3], waiting[i])
    end
  end
end
local granted = math.max(0, math.min(wanted, ARGV[5] - used - older))
if held + granted > 0 then redis.call('HSET', KEYS[2], me, held + granted) else redis.call('HDEL', KEYS[2], me) end
if granted < wanted then
  -- a replica that was served waits behind the others for the rest
  if granted > 0 then since = now end
  redis.call('HSET', KEYS[3], me, string.format('%.0f:%.0f', since, now))
  redis.call('PUBLISH', ARGV[6], ARGV[7])
else
  redis.call('HDEL', KEYS[3], me)
end
return {unknown, granted, others}
"""
)

# RESERVE: reserve consecutive start times in the account's schedule.
#   KEYS     next
#   ARGV     1 number of requests, 2 interval between two in microseconds
#   returns  microseconds until the first may start
RESERVE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local first = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local after = first + ARGV[1] * ARGV[2]
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.floor((after - now) / 1000) + 1000)
return first - now
""")

# PAUSE: let no request of the account start for a time.
#   KEYS     next
#   ARGV     1 microseconds, 2 channel, 3 message `hold`
#   returns  1
PAUSE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local after = math.max(now + ARGV[1], tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.floor((after - now) / 1000) + 1000)
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
""")

# FORWARD: publish a callback delivery, if a job has this callback.
#   KEYS     the callback's key
#   ARGV     1 channel, 2 message `ring`
#   returns  1 published, 0 if no job has it
FORWARD = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
""")

# SCAN_UNFINISHED: read one page of an account's index of unfinished jobs.
#   KEYS     unfinished
#   ARGV     1 cursor, 0 for the first page, 2 approximate number of entries
#   returns  {cursor of the next page, 0 after the last one, {job, creation time, …}}
SCAN_UNFINISHED = Script("return redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])")

# SCAN_RECORDS: read one page of all records.
#   ARGV     1 cursor, 0 for the first page, 2 glob pattern of the keys of records, 3 keys to look at
#   returns  {cursor of the next page, 0 after the last one, {key, record as JSON, …}}
SCAN_RECORDS = Script("""
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local records = {}
for _, key in ipairs(page[2]) do
  records[#records + 1] = key
  records[#records + 1] = redis.call('HGET', key, 'record') or ''
end
return {page[1], records}
""")

# NOTE_SERVER: note on which server the data are used, and begin a quiet time unless they were last used on this one.
#   KEYS     server, quiet, accounts
#   ARGV     1 run id of this server, 2 lease in ms, 3 ms that a server without data stays quiet,
#            4 1 if the caller has noticed a rewind itself, else 0
#   returns  ms until the quiet time ends
NOTE_SERVER = Script("""
local known = redis.call('GET', KEYS[1])
local quiet = 0
if ARGV[4] == '1' or (known and known ~= ARGV[1]) then
  quiet = tonumber(ARGV[2])
elseif not known then
  quiet = tonumber(redis.call('EXISTS', KEYS[3]) == 1 and ARGV[2] or ARGV[3])
end
redis.call('SET', KEYS[1], ARGV[1])
if quiet > math.max(0, redis.call('PTTL', KEYS[2])) then redis.call('SET', KEYS[2], '1', 'PX', quiet) end
return math.max(0, redis.call('PTTL', KEYS[2]))
""")

ALL = (
    CREATE,
    UPDATE,
    ACKNOWLEDGE,
    DELETE,
    LEASE,
    END_LEASE,
    ADOPT,
    HEARTBEAT,
    LEAVE,
    REPORT_SLOTS,
    REQUEST_SLOTS,
    RESERVE,
    PAUSE,
    FORWARD,
    SCAN_UNFINISHED,
    SCAN_RECORDS,
    NOTE_SERVER,
)
