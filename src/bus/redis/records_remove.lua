-- Lets go of a record that is this owner's, and says so in the log of changes. records.lua stands before it.
-- Arguments from 3 on: 3 id, 4 owner.
-- Returns {'done' | 'none', number of the change}

local record = redis.call('HGET', records, ARGV[3])
local mark = #ARGV[4] .. ':' .. ARGV[4]
if not record or string.sub(record, 1, #mark) ~= mark then
  return {'none', '0'}
end
redis.call('HDEL', records, ARGV[3])
if redis.call('HINCRBY', counts, ARGV[4], -1) <= 0 then
  redis.call('HDEL', counts, ARGV[4])
end
return {'done', changed('remove', ARGV[3], '')}
