-- What every script that appends to the log begins with: numbers, and the entry itself.

-- Numbers are below 2^53, where Lua's are exact; printed without an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

-- The numbering in force. One that knows less than `shown`, the highest seq that the publisher has seen or made, has
-- lost something: what was sent must not be numbered again, so a new epoch begins above it, and not below the clock.
local function numbering(meta_key, seq_key, shown, new_epoch, clock_us)
  local meta = redis.call('HMGET', meta_key, 'epoch', 'floor', 'high')
  local log = {
    meta_key = meta_key, seq_key = seq_key, ticks = {}, last = {},
    epoch = meta[1], floor = tonumber(meta[2] or 0), high = tonumber(meta[3] or 0),
  }
  if not log.epoch or shown > log.high then
    log.epoch = new_epoch
    log.floor = math.max(shown, log.high, clock_us)
    log.high = log.floor
    redis.call('DEL', seq_key)
    redis.call('HSET', meta_key, 'epoch', log.epoch, 'floor', whole(log.floor), 'high', whole(log.high))
  end
  return log
end

-- Numbers one update, `inside` being its JSON without the symbol and the braces, and returns its seq as text.
local function number(log, symbol, inside)
  local seq = redis.call('HINCRBY', log.seq_key, symbol, 1)
  if seq == 1 then
    seq = log.floor + 1
    redis.call('HSET', log.seq_key, symbol, whole(seq))
  end
  log.high = math.max(log.high, seq)
  local tick = '{"symbol":"' .. symbol .. '",' .. inside .. ',"seq":' .. whole(seq)
  log.ticks[#log.ticks + 1] = tick .. '}'
  log.last[#log.last + 1] = symbol
  log.last[#log.last + 1] = tick .. ',"epoch":"' .. log.epoch .. '"}'
  return whole(seq)
end

-- Writes what was numbered as one entry, if anything was.
local function append(log, last_key, stream_key, most_entries)
  if #log.ticks == 0 then
    return
  end
  redis.call('HSET', log.meta_key, 'high', whole(log.high))
  redis.call('HSET', last_key, unpack(log.last))
  local ticks = '[' .. table.concat(log.ticks, ',') .. ']'
  redis.call('XADD', stream_key, 'MAXLEN', '~', most_entries, '*', 'epoch', log.epoch, 'ticks', ticks)
end
