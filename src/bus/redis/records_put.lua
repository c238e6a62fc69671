-- Keeps a record, and says so in the log of changes. records.lua stands before it.
-- Arguments from 3 on: 3 id, 4 owner, 5 JSON, 6 most of an owner, 7 most in all.
-- Returns {'done' | 'known' | 'many' | 'full', number of the last change, how many the owner has}

if redis.call('HEXISTS', records, ARGV[3]) == 1 then
  return {'known', redis.call('HGET', meta, 'n') or '0', '0'}
end
local count = redis.call('HGET', counts, ARGV[4]) or '0'
if tonumber(count) >= tonumber(ARGV[6]) then
  return {'many', '0', count}
end
if redis.call('HLEN', records) >= tonumber(ARGV[7]) then
  return {'full', '0', count}
end
-- The owner stands before the JSON, with its length in bytes.
local record = #ARGV[4] .. ':' .. ARGV[4] .. ARGV[5]
redis.call('HSET', records, ARGV[3], record)
redis.call('HINCRBY', counts, ARGV[4], 1)
return {'done', changed('put', ARGV[3], record), count}
