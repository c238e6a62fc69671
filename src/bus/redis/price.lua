-- Tells a price to other services, unless they know a newer one. Keys: 1 price.
-- Arguments: 1 the tick as JSON, 2 how long that holds in ms. Returns 1 or 0.
local function seq(tick)
  return tonumber(string.match(tick, '"seq":(%d+)'))
end
local known = redis.call('GET', KEYS[1])
if known and (seq(known) or 0) > seq(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
