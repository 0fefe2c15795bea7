"""The store's keys, and the one script that runs inside of it.

Every key begins with the generation's prefix. Behind it stands, for a row, a letter and the eight bytes of its own key:

    u user   i item   c category   s surface   v page of attribute values

``overall`` and ``places`` have one row each. ``heard`` is a hash: by log name, the sequence number up to which that log
is learned; every write changes it, so whoever watches it knows of any other. ``m`` and 16 bytes mark an event that is
learned. ``turn`` holds who writes now, and ``seed`` who writes the beginning, until ``complete`` is there.
"""

from __future__ import annotations

from hashlib import sha1

LETTERS = {"users": b"u", "items": b"i", "categories": b"c", "surfaces": b"s", "values": b"v"}

# What a question needs that MGET cannot give: first of all whether the generation is there; the users' rows; and, of
# the items that these name, only how often they were shown and clicked. The larger part of a question, the candidates'
# rows, is left to MGET in the same transaction: it takes a fifth of the time that a script takes for them.
RECALL = """
local nonce, base, users, items, marks = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local sub, nobody = string.sub, string.rep('\\0', 8)
if redis.call('EXISTS', base .. 'complete') == 0 then return {nonce} end

local rows, keys, known = {}, {}, {}
local function choose(key)
  if not known[key] then
    known[key] = true
    keys[#keys + 1] = key
  end
end
for place = 1, #items / 8 do choose(sub(items, place * 8 - 7, place * 8)) end
for place = 1, #users / 8 do
  local row = redis.call('GET', base .. 'u' .. sub(users, place * 8 - 7, place * 8)) or ''
  rows[place] = row
  for part = 6, 8, 2 do
    local begin, count = tonumber(ARGV[part]), tonumber(ARGV[part + 1])
    for number = 1, count do
      local key = sub(row, begin + number * 8 - 7, begin + number * 8)
      if key == nobody or key == '' then break end
      choose(key)
    end
  end
end

local first, last, totals = tonumber(ARGV[10]), tonumber(ARGV[11]), {}
local never = string.rep('\\0', last - first + 1)
for place, key in ipairs(keys) do
  local found = redis.call('GETRANGE', base .. 'i' .. key, first, last)
  totals[place] = found == '' and never or found
end
local learned = {}
for place = 1, #marks / 16 do
  learned[place] = redis.call('EXISTS', base .. 'm' .. sub(marks, place * 16 - 15, place * 16))
end
return {nonce, redis.call('HGETALL', base .. 'heard'), rows, table.concat(keys), table.concat(totals), learned}
"""
RECALL_SHA = sha1(RECALL.encode(), usedforsecurity=False).hexdigest()
