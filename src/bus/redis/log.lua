-- What every script that appends to the log begins with: numbers, and the entry itself.

-- Ticks that are said again go into entries of so many.
local RESTATED = 500

-- Numbers are below 2^53, where Lua's are exact; printed without an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

-- Whether one id of an entry comes before another. Their parts are of 64 bits: too long for numbers.
local function before(one, other)
  local ms, count = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_count = string.match(other, '^(%d+)-(%d+)$')
  if ms == other_ms then
    ms, other_ms = count, other_count
  end
  if #ms ~= #other_ms then
    return #ms < #other_ms
  end
  return ms < other_ms
end

-- Whether a stream has the entry of this id, or may have had it before it was trimmed.
local function has(stream_key, id)
  if redis.call('XRANGE', stream_key, id, id)[1] then
    return true
  end
  local first = redis.call('XRANGE', stream_key, '-', '+', 'COUNT', 1)[1]
  return not first or before(id, first[1])
end

-- Numbers one update, `inside` being its JSON without the symbol and the braces, and returns its seq as text.
local function number(log, symbol, inside)
  local seq = redis.call('HINCRBY', log.seq_key, symbol, 1)
  if seq == 1 then
    -- The first of this epoch, as far as the numbers say. They may have been lost alone (evicted, or deleted): then it goes
    -- on from the last tick, or else above all numbers that were given.
    local last = redis.call('HGET', log.last_key, symbol)
    local known, epoch = string.match(last or '', '"seq":(%d+),"epoch":"([^"]*)"}$')
    seq = (epoch == log.epoch and tonumber(known) or log.base) + 1
    redis.call('HSET', log.seq_key, symbol, whole(seq))
  end
  log.high = math.max(log.high, seq)
  local tick = '{"symbol":"' .. symbol .. '",' .. inside .. ',"seq":' .. whole(seq)
  log.ticks[#log.ticks + 1] = tick .. '}'
  log.last[#log.last + 1] = symbol
  log.last[#log.last + 1] = tick .. ',"epoch":"' .. log.epoch .. '"}'
  return whole(seq)
end

-- Writes what was numbered as one entry, if anything was. `restated`: what was known before is said again.
local function append(log, restated)
  if #log.ticks == 0 then
    return
  end
  redis.call('HSET', log.last_key, unpack(log.last))
  local fields = {'epoch', log.epoch, 'ticks', '[' .. table.concat(log.ticks, ',') .. ']'}
  if restated then
    fields[5], fields[6] = 'restated', '1'
  end
  log.id = redis.call('XADD', log.stream_key, 'MAXLEN', '~', log.most_entries, '*', unpack(fields))
  redis.call('HSET', log.meta_key, 'high', whole(log.high), 'id', log.id)
  log.ticks, log.last = {}, {}
end

-- Says the last tick of every symbol again, under a new epoch: so everybody has the same ones, quiet symbols too.
local function restate(log)
  local last = redis.call('HGETALL', log.last_key)
  for i = 1, #last, 2 do
    local inside = string.match(last[i + 1], '^{"symbol":"[^"]*",(.*),"seq":%d+,"epoch":"[^"]*"}$')
    if inside then
      number(log, last[i], inside)
    end
    if #log.ticks == RESTATED then
      append(log, true)
    end
  end
  append(log, true)
end

-- The numbering in force, for the keys meta, seq, last and stream from `first` on. One that knows less than `shown`, the
-- highest seq that the caller has seen or made, has lost something, or the caller numbered by itself meanwhile: what was
-- sent must not be numbered again, so a new epoch begins above it, and not below the clock. So it does where the log does
-- not have what the caller has `seen`, the epoch and the id of an entry: what a failover loses need not be of the symbol
-- with the highest number, and others may have appended since, who had not seen it.
local function numbering(first, shown, seen, new_epoch, clock_us, most_entries)
  local meta = redis.call('HMGET', KEYS[first], 'epoch', 'high', 'id')
  local log = {
    meta_key = KEYS[first], seq_key = KEYS[first + 1], last_key = KEYS[first + 2], stream_key = KEYS[first + 3],
    most_entries = most_entries, ticks = {}, last = {},
    epoch = meta[1], high = tonumber(meta[2] or 0),
  }
  local epoch, id = string.match(seen, '^(%S+) (%S+)$')
  -- As a rule it is the last one, and that needs no look.
  local has_lost = epoch and epoch == log.epoch and id ~= meta[3] and not has(log.stream_key, id)
  if not log.epoch or shown > log.high or has_lost then
    log.epoch = new_epoch
    log.high = math.max(shown, log.high, clock_us)
    log.base = log.high
    redis.call('DEL', log.seq_key)
    -- The floor is for replicas of versions before this one.
    redis.call('HSET', log.meta_key, 'epoch', log.epoch, 'floor', whole(log.high), 'high', whole(log.high))
    restate(log)
  end
  -- What the first tick of a symbol comes after.
  log.base = log.high
  return log
end
