-- Says that a replica lives, and lists those that do. Keys: 1 nodes, 2 seen.
-- Arguments: 1 id (empty: only list), 2 what it says of itself (empty: it goes), 3 how long that holds in ms.
-- Returns what each live replica says of itself, in the order of their ids.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '' then
  if ARGV[2] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('ZREM', KEYS[2], ARGV[1])
  else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
  end
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('HDEL', KEYS[1], gone)
  redis.call('ZREM', KEYS[2], gone)
end
local ids = redis.call('HKEYS', KEYS[1])
table.sort(ids)
local nodes = {}
for _, id in ipairs(ids) do
  nodes[#nodes + 1] = redis.call('HGET', KEYS[1], id)
end
return nodes
