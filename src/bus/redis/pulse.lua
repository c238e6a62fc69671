-- Whether Redis can be written, and what goes on there. Keys: 1 pulse, 2 stream; then leases.
-- Arguments: 1 how long the pulse is there in ms; then for each lease our token of before.
-- Returns {id of the log's last entry, 1 if one of the leases is nobody's or ours, else 0}.

redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
local entry = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local free = '0'
for i = 3, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  if not holder or holder == ARGV[i - 1] then
    free = '1'
  end
end
return {entry[1] and entry[1][1] or '0-0', free}
