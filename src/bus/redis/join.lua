-- A replica shows the highest seq that it has seen or made, and learns the epoch in force.
-- Keys: 1 meta, 2 seq, 3 stream.
-- Arguments: 1 highest seq shown, 2 name for a new epoch, 3 clock in us.
-- Returns {epoch, id of the log's last entry}.

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'high')
local epoch, high = meta[1], tonumber(meta[2] or 0)
local shown = tonumber(ARGV[1])
if not epoch or shown > high then
  -- Restarted empty, or failed over and lost its tail: begin above all that this replica sent.
  epoch = ARGV[2]
  local floor = string.format('%.0f', math.max(shown, high, tonumber(ARGV[3])))
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'floor', floor, 'high', floor)
end

local entry = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
return {epoch, entry[1] and entry[1][1] or '0-0'}
