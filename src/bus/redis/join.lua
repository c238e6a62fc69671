-- A replica shows the highest seq that it has seen or made, and learns the epoch in force. log.lua stands before it.
-- Keys: 1 meta, 2 seq, 3 last, 4 stream.
-- Arguments: 1 highest seq shown, 2 name for a new epoch, 3 clock in us, 4 most entries.
-- Returns {epoch, id of the log's last entry before whatever this appended}.

local entry = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
local log = numbering(1, tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4])
return {log.epoch, entry[1] and entry[1][1] or '0-0'}
