-- Renews a lease that is still ours. Keys: 1 lease. Arguments: 1 token, 2 time to live in ms. Returns 1 or 0.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
