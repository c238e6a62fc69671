-- Numbers what publishers without a lease offer, and appends it to the log as one entry. log.lua stands before it.
-- Keys: 1 meta, 2 seq, 3 last, 4 stream, 5 owner, 6 answer; of the input stream's reader 7 its lease, 8 its position.
-- Arguments: 1 highest seq that this replica has seen or made, 2 the last entry that it has (its epoch and id; empty:
-- none), 3 name for a new epoch, 4 clock in us, 5 most entries, 6 stamp, by which the offer is known again (empty: it is
-- not), 7 how long for in ms, 8 most symbols; of the input's reader 9 its token (else empty) and 10 the position after
-- these; then for each update three: its symbol, its time in ms (after a `~` where that is the server's, which moves on to
-- the symbol's last one) and the rest of its JSON, or, for one that was rejected before, an empty text, an empty text and
-- why.
-- Returns {'fenced'}, {'other'} (the stamp's name was used for another offer) or {'new' or 'again', epoch, id of the entry
-- (empty: none, or not known any more), verdict, ...}: `=` and a seq, or `owner` and whose it is, `stale` and the symbol's
-- last time, `many`, `why` and why.

if ARGV[9] ~= '' and redis.call('GET', KEYS[7]) ~= ARGV[9] then
  return {'fenced'}
end

-- An offer that was answered already is answered again.
local known = ARGV[6] ~= '' and redis.call('GET', KEYS[6])
if known then
  local reply = cjson.decode(known)
  if reply[1] == ARGV[6] then
    reply[1] = 'again'
    table.insert(reply, 3, '')
    return reply
  elseif ARGV[9] == '' then
    return {'other'}
  end
end

-- What was taken already comes late: from a connection that its reader has given up.
local taken = ARGV[9] ~= '' and redis.call('GET', KEYS[8])
if taken and not before(taken, ARGV[10]) then
  return {'fenced'}
end

local symbols = {}
for i = 11, #ARGV, 3 do
  symbols[#symbols + 1] = ARGV[i]
end
local owners = redis.call('HMGET', KEYS[5], unpack(symbols))
-- Nobody runs a source without a lease: what the settings gave to one that nobody has any more is free.
local leases, run = string.gsub(KEYS[5], 'owner$', 'lease:'), {}
for i = 1, #symbols do
  local owner = owners[i]
  if owner then
    if run[owner] == nil then
      run[owner] = redis.call('EXISTS', leases .. owner) == 1
    end
    owners[i] = run[owner] and owner
  end
end
local lasts = redis.call('HMGET', KEYS[3], unpack(symbols))
local room = tonumber(ARGV[8]) - redis.call('HLEN', KEYS[3])

local log = numbering(1, tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5])
local reply, times = {ARGV[6], log.epoch}, {}
for i, symbol in ipairs(symbols) do
  local mark, digits = string.match(ARGV[9 + 3 * i], '^(~?)(%d*)$')
  local ts, inside = tonumber(digits), ARGV[10 + 3 * i]
  local last = times[symbol] or (lasts[i] and tonumber(string.match(lasts[i], '"ts":(%d+)')))
  if mark == '~' and last and ts < last then
    ts = last
    inside = string.gsub(inside, '"ts":%d+', '"ts":' .. whole(last), 1)
  end
  local verdict
  if symbol == '' then
    verdict = 'why' .. inside
  elseif owners[i] then
    verdict = 'owner' .. owners[i]
  elseif last and ts < last then
    verdict = 'stale' .. whole(last)
  elseif not last and room <= 0 then
    verdict = 'many'
  else
    if not last then
      room = room - 1
    end
    times[symbol] = ts
    verdict = '=' .. number(log, symbol, inside)
  end
  reply[#reply + 1] = verdict
end

append(log)
if ARGV[6] ~= '' then
  redis.call('SET', KEYS[6], cjson.encode(reply), 'PX', ARGV[7])
end
if ARGV[9] ~= '' then
  redis.call('SET', KEYS[8], ARGV[10])
end
reply[1] = 'new'
table.insert(reply, 3, log.id or '')
return reply
