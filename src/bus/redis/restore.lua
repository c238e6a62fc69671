-- A replica knows ticks of symbols that Redis has lost: they are said again. log.lua stands before it.
-- Keys: 1 meta, 2 seq, 3 last, 4 stream.
-- Arguments: 1 the epoch in which they are to be said, 2 most entries; then for each its symbol and the rest of its JSON.
-- Returns how many were appended: none that has been numbered meanwhile, and none where the epoch is another by now.

if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
local log = numbering(1, 0, '', '', 0, ARGV[2])
local restored = 0
for i = 3, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 0 then
    number(log, ARGV[i], ARGV[i + 1])
    restored = restored + 1
  end
end
append(log, true)
return restored
