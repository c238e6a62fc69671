-- Stores candles, as the one replica that does: it takes the lease, or holds it longer, at the same time.
-- Keys: 1 lease, 2 meta, 3 marks; then for each symbol the list of its records.
-- Arguments: 1 token, 2 time to live of the lease in ms; then for each symbol its name, the epoch and the seq up to which
-- its candles are, 1 where the record is whole (else it only says what changed), and the record.
-- Returns {'held'} where another replica stores, or {'stored', ...} with a word for each symbol: 'stored', 'lost' where what
-- the record follows is not there, or 'old' where what is there is newer.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {'held'}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])

local time = redis.call('TIME')
local now_ms = time[1] .. string.format('%03d', math.floor(tonumber(time[2]) / 1000))
-- What came into the log after this may not be in any record.
redis.call('HSET', KEYS[3], ' at', now_ms)

local in_force = redis.call('HGET', KEYS[2], 'epoch')
local reply = {'stored'}
for i = 4, #KEYS do
  local at = 3 + (i - 4) * 5
  local symbol, epoch, seq, whole, record = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local mark = redis.call('HGET', KEYS[3], symbol)
  local stored_epoch, stored_seq, by = string.match(mark or '', '^(%S+) (%d+) (%S+)$')
  local word = 'stored'
  if stored_epoch == epoch then
    -- Who wakes late knows less.
    if tonumber(seq) < tonumber(stored_seq) then
      word = 'old'
    end
  elseif epoch ~= in_force then
    -- An epoch that has ended, or one that is a replica's own.
    word = 'old'
  end
  if word == 'stored' and whole ~= '1' and (by ~= ARGV[1] or redis.call('EXISTS', KEYS[i]) == 0) then
    word = 'lost'
  end
  if word == 'stored' then
    if whole == '1' then
      redis.call('DEL', KEYS[i])
    end
    redis.call('RPUSH', KEYS[i], record)
    redis.call('HSET', KEYS[3], symbol, epoch .. ' ' .. seq .. ' ' .. ARGV[1])
  end
  reply[#reply + 1] = word
end
return reply
