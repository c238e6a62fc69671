-- A replica shows the highest seq that it has seen or made, and what it has of the log, and learns the epoch in force.
-- log.lua stands before it. Keys: 1 meta, 2 seq, 3 last, 4 stream.
-- Arguments: 1 highest seq shown, 2 the last entry that it has (its epoch and id; empty: none), 3 name for a new epoch,
-- 4 clock in us, 5 most entries, 6 id of the entry after which it reads on (empty: none).
-- Returns {epoch, id of the log's last entry before whatever this appended, 1 where the log has what it reads on after, as
-- far as can be said, else 0, the highest seq that was given}.

local entry = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
local joins_up = ARGV[6] == '' or has(KEYS[4], ARGV[6])
local log = numbering(1, tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5])
return {log.epoch, entry[1] and entry[1][1] or '0-0', joins_up and '1' or '0', whole(log.high)}
