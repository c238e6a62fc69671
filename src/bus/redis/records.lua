-- What every script that changes records begins with.
-- Keys: 1 records, by id, 2 how many an owner has, 3 the log of changes, 4 what is known of that log.
-- Arguments: 1 most entries of the log, 2 name for the log where it has none.

local records, counts, log, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- Says in the log what was changed, and returns the change's number. A log that begins again has another name.
local function changed(what, id, record)
  redis.call('HSETNX', meta, 'run', ARGV[2])
  local n = redis.call('HINCRBY', meta, 'n', 1)
  local run = redis.call('HGET', meta, 'run')
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[1], '*', 'run', run, 'n', n, 'what', what, 'id', id, 'record', record)
  return tostring(n)
end
