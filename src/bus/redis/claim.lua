-- Makes a source the owner of these symbols, and of no others, for whoever holds its lease.
-- Keys: 1 lease, 2 owner. Arguments: 1 token, 2 source; then symbols.
-- Returns {'fenced'} or {'claimed', ...} with the symbols that are another source's, which somebody runs.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'fenced'}
end

local wanted, reply = {}, {'claimed'}
for i = 3, #ARGV do
  wanted[ARGV[i]] = true
end
-- What an earlier holder made is free where this one does not make it.
local owners = redis.call('HGETALL', KEYS[2])
for i = 1, #owners, 2 do
  if owners[i + 1] == ARGV[2] and not wanted[owners[i]] then
    redis.call('HDEL', KEYS[2], owners[i])
  end
end
for i = 3, #ARGV do
  if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[2]) == 0 then
    local owner = redis.call('HGET', KEYS[2], ARGV[i])
    if owner ~= ARGV[2] then
      -- Nobody runs a source without a lease: the settings named it once.
      if redis.call('EXISTS', string.sub(KEYS[1], 1, -#ARGV[2] - 1) .. owner) == 1 then
        reply[#reply + 1] = ARGV[i]
      else
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[2])
      end
    end
  end
end
return reply
