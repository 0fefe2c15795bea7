"""What runs inside of Redis or Valkey, each script at one moment for everybody.

Keys and rows travel as one string each way, because a thousand of them are parsed in no time so. A row's name is the
generation's prefix, a letter for what it is of, and the eight bytes of its key:

    u user   i item   c category   s surface   v attribute value   e event   o everything   p places in a list

Beside them stand the hashes ``about`` (``revision``: a random token that every write replaces; ``complete``) and
``heard`` (by log name, the sequence number up to which it is learned), and ``turn``, whose turn it is to write.
"""

from __future__ import annotations

from serving.shared_state.link import Script

_COMMON = """
local base, sub = ARGV[2], string.sub

local function put(letter, keys, rows, stays, seconds)
  local count = #keys / 8
  local size = #rows / count
  for place = 1, count do
    local name = base .. letter .. sub(keys, place * 8 - 7, place * 8)
    local row = sub(rows, (place - 1) * size + 1, place * size)
    if sub(stays, place, place) == '1' then
      redis.call('SET', name, row)
    else
      redis.call('SET', name, row, 'EX', seconds)
    end
  end
end
"""

# nonce, base, token and milliseconds of a turn ('' for none), log-independent keys by letter (u i c s v), keys of items
# to be cut, events (16 bytes each); then where a user's row names items (twice offset, count), what to cut of those,
# and of which users.
READ = Script(
    _COMMON
    + """
local about = redis.call('HMGET', base .. 'about', 'complete', 'revision')
if not about[1] then return {ARGV[1], 'absent'} end
if ARGV[3] ~= '' and not redis.call('SET', base .. 'turn', ARGV[3], 'NX', 'PX', ARGV[4]) then
  return {ARGV[1], 'busy'}
end

local function fetch(letter, keys, width, first, last)
  local count, names = #keys / width, {}
  for place = 1, count do names[place] = base .. letter .. sub(keys, (place - 1) * width + 1, place * width) end
  local there, rows, each = {}, {}, {}
  for begin = 1, count, 1000 do
    local found = redis.call('MGET', unpack(names, begin, math.min(begin + 999, count)))
    for place = 1, #found do
      local row = found[place]
      each[begin + place - 1] = row
      there[#there + 1] = row and '1' or '0'
      if row then rows[#rows + 1] = first and sub(row, first, last) or row end
    end
  end
  return table.concat(there), table.concat(rows), each
end

local reply = {ARGV[1], 'ok', about[2], redis.call('HGETALL', base .. 'heard'),
  redis.call('GET', base .. 'o') or '', redis.call('GET', base .. 'p') or ''}
local users
for place, letter in ipairs({'u', 'i', 'c', 's', 'v'}) do
  local there, rows, each = fetch(letter, ARGV[4 + place], 8)
  reply[#reply + 1] = there
  reply[#reply + 1] = rows
  if letter == 'u' then users = each end
end

local recalled, known, nobody = {}, {}, string.rep('\\0', 8)
for user = 1, #users do
  local row = sub(ARGV[18], user, user) == '1' and users[user]
  for part = 12, row and 14 or 0, 2 do
    local begin = tonumber(ARGV[part])
    for place = 1, tonumber(ARGV[part + 1]) do
      local key = sub(row, begin + place * 8 - 7, begin + place * 8)
      if key == nobody then break end
      if not known[key] then
        known[key] = true
        recalled[#recalled + 1] = key
      end
    end
  end
end
local cut = ARGV[10] .. table.concat(recalled)
local there, rows = fetch('i', cut, 8, tonumber(ARGV[16]), tonumber(ARGV[17]))
reply[#reply + 1] = cut
reply[#reply + 1] = there
reply[#reply + 1] = rows
reply[#reply + 1] = (fetch('e', ARGV[11], 16))
return reply
"""
)

# nonce, base, the revision that was read, the next one, token of the turn, name of the log, its sequence number,
# seconds that rows of strangers stay, seconds that events stay, everything, places, events; then keys, rows, which
# stay, each for u i c s v.
COMMIT = Script(
    _COMMON
    + """
local mine = redis.call('GET', base .. 'turn') == ARGV[5]
if redis.call('HGET', base .. 'about', 'revision') ~= ARGV[3] then
  if mine then redis.call('DEL', base .. 'turn') end
  return {ARGV[1], 'moved'}
end
for place, letter in ipairs({'u', 'i', 'c', 's', 'v'}) do
  local at = 10 + place * 3
  put(letter, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[8])
end
redis.call('SET', base .. 'o', ARGV[10])
redis.call('SET', base .. 'p', ARGV[11])
for place = 1, #ARGV[12] / 16 do
  redis.call('SET', base .. 'e' .. sub(ARGV[12], place * 16 - 15, place * 16), '', 'EX', ARGV[9])
end
redis.call('HSET', base .. 'heard', ARGV[6], ARGV[7])
redis.call('HSET', base .. 'about', 'revision', ARGV[4])
if mine then redis.call('DEL', base .. 'turn') end
return {ARGV[1], 'ok'}
"""
)

# nonce, base, token, milliseconds of a turn: begins or goes on with writing a generation that is not there yet.
SEED_TURN = Script(
    _COMMON
    + """
if redis.call('HEXISTS', base .. 'about', 'complete') == 1 then return {ARGV[1], 'complete'} end
local whose = redis.call('GET', base .. 'seed')
if whose and whose ~= ARGV[3] then return {ARGV[1], 'busy'} end
redis.call('SET', base .. 'seed', ARGV[3], 'PX', ARGV[4])
return {ARGV[1], 'ok'}
"""
)

# nonce, base, token, milliseconds of a turn, letter, keys, rows, which stay, seconds that the others stay. With an
# empty letter: everything, places and the first revision, and the generation is complete.
SEED = Script(
    _COMMON
    + """
if redis.call('GET', base .. 'seed') ~= ARGV[3] or redis.call('HEXISTS', base .. 'about', 'complete') == 1 then
  return {ARGV[1], 'lost'}
end
if ARGV[5] ~= '' then
  redis.call('SET', base .. 'seed', ARGV[3], 'PX', ARGV[4])
  put(ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9])
else
  redis.call('SET', base .. 'o', ARGV[6])
  redis.call('SET', base .. 'p', ARGV[7])
  redis.call('HSET', base .. 'about', 'revision', ARGV[3], 'complete', '1')
  redis.call('DEL', base .. 'seed')
end
return {ARGV[1], 'ok'}
"""
)

# nonce, base, token: lets others write.
RELEASE = Script(
    _COMMON
    + """
if redis.call('GET', base .. 'turn') == ARGV[3] then redis.call('DEL', base .. 'turn') end
return {ARGV[1], 'ok'}
"""
)
