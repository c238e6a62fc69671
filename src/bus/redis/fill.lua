-- Appends candles of the past to the log, for whoever holds the source's lease. They have no number, and a repeat is
-- harmless. Keys: 1 lease, 2 meta, 3 stream. Arguments: 1 token, 2 most entries, 3 the candles.
-- Returns 'fenced', 'appended', or 'none' where there is no numbering yet.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'fenced'
end
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  return 'none'
end
-- Who knows nothing of candles takes it for an entry without ticks.
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'epoch', epoch, 'ticks', '[]', 'fill', ARGV[3])
return 'appended'
