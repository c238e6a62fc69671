-- Takes it on to do something that is to be done by one replica, or goes on with it.
-- Key: 1 what is to be done. Arguments: 1 who asks, 2 for how long, in ms.
-- Returns 'mine', 'held' (somebody else has taken it on) or 'done'.

local by = redis.call('GET', KEYS[1])
if by == 'done' then
  return 'done'
end
if by and by ~= ARGV[1] then
  return 'held'
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'mine'
