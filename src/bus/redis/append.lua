-- Numbers a batch of updates and appends it to the log, for whoever holds the source's lease.
-- Keys: 1 lease, 2 meta, 3 seq, 4 last, 5 stream, 6 done.
-- Arguments: 1 token, 2 source, 3 batch, 4 highest seq that the publisher has seen or made, 5 name for a new epoch,
-- 6 clock in us, 7 most entries; then for each update its symbol and the rest of its JSON.
-- Returns {'fenced'} or {epoch, seq, ...}.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'fenced'}
end

-- A batch that was appended already (the answer was lost with the connection) is answered again, not appended.
local stamp = ARGV[1] .. ' ' .. ARGV[3]
local done = redis.call('HGET', KEYS[6], ARGV[2])
if done then
  local reply = cjson.decode(done)
  if reply[1] == stamp then
    table.remove(reply, 1)
    return reply
  end
end

-- Numbers are below 2^53, where Lua's are exact; printed without an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

local meta = redis.call('HMGET', KEYS[2], 'epoch', 'floor', 'high')
local epoch, floor, high = meta[1], tonumber(meta[2] or 0), tonumber(meta[3] or 0)
local shown = tonumber(ARGV[4])
if not epoch or shown > high then
  -- Nothing is known, or less than the publisher has seen: what it sent must not be numbered again.
  epoch = ARGV[5]
  floor = math.max(shown, high, tonumber(ARGV[6]))
  high = floor
  redis.call('DEL', KEYS[3])
end

local ticks, reply, last = {}, {epoch}, {}
for i = 8, #ARGV, 2 do
  local symbol = ARGV[i]
  local seq = redis.call('HINCRBY', KEYS[3], symbol, 1)
  if seq == 1 then
    seq = floor + 1
    redis.call('HSET', KEYS[3], symbol, whole(seq))
  end
  high = math.max(high, seq)
  local tick = '{"symbol":"' .. symbol .. '",' .. ARGV[i + 1] .. ',"seq":' .. whole(seq)
  ticks[#ticks + 1] = tick .. '}'
  last[#last + 1] = symbol
  last[#last + 1] = tick .. ',"epoch":"' .. epoch .. '"}'
  reply[#reply + 1] = whole(seq)
end

redis.call('HSET', KEYS[2], 'epoch', epoch, 'floor', whole(floor), 'high', whole(high))
redis.call('HSET', KEYS[4], unpack(last))
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[7], '*', 'epoch', epoch, 'ticks', '[' .. table.concat(ticks, ',') .. ']')
table.insert(reply, 1, stamp)
redis.call('HSET', KEYS[6], ARGV[2], cjson.encode(reply))
table.remove(reply, 1)
return reply
