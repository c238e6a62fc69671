-- Takes a lease that nobody has, or that is ours from before: an answer may have been lost, or the way to Redis.
-- Keys: 1 lease.
-- Arguments: 1 token, 2 time to live in ms, 3 our token of before (empty: none), 4 1 to take it if it is nobody's.
-- Returns 'taken', 'free' or 'held'.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and holder ~= ARGV[3] then
  return 'held'
elseif not holder and ARGV[4] ~= '1' then
  return 'free'
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'taken'
