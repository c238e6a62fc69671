-- Numbers a batch of updates and appends it to the log, for whoever holds the source's lease. log.lua stands before it.
-- Keys: 1 lease, 2 meta, 3 seq, 4 last, 5 stream, 6 done, 7 owner.
-- Arguments: 1 token, 2 source, 3 batch, 4 highest seq that the publisher has seen or made, 5 the last entry that it has
-- (its epoch and id; empty: none), 6 name for a new epoch, 7 clock in us, 8 most entries; then for each update its symbol
-- and the rest of its JSON.
-- Returns {'fenced'} or {epoch, id of the entry (empty: none), seq, ...}; 0 for a symbol that is another source's.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'fenced'}
end

-- A batch that was appended already (the answer was lost with the connection) is answered again, not appended. One that
-- others have followed comes late, from a connection that its publisher has given up, and nobody waits for it.
local done = redis.call('HGET', KEYS[6], ARGV[2])
if done then
  local token, batch, reply = unpack(cjson.decode(done))
  if token == ARGV[1] then
    if batch == ARGV[3] then
      return reply
    elseif tonumber(batch) > tonumber(ARGV[3]) then
      return {'fenced'}
    end
  end
end

local symbols = {}
for i = 9, #ARGV, 2 do
  symbols[#symbols + 1] = ARGV[i]
end
local owners = redis.call('HMGET', KEYS[7], unpack(symbols))

local log = numbering(2, tonumber(ARGV[4]), ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8])
local seqs, found = {}, {}
for i, symbol in ipairs(symbols) do
  if not owners[i] then
    -- A failover may have lost what was claimed.
    found[#found + 1] = symbol
    found[#found + 1] = ARGV[2]
  end
  if not owners[i] or owners[i] == ARGV[2] then
    seqs[#seqs + 1] = number(log, symbol, ARGV[8 + 2 * i])
  else
    seqs[#seqs + 1] = '0'
  end
end

if #found > 0 then
  redis.call('HSET', KEYS[7], unpack(found))
end
append(log)
local reply = {log.epoch, log.id or '', unpack(seqs)}
redis.call('HSET', KEYS[6], ARGV[2], cjson.encode({ARGV[1], ARGV[3], reply}))
return reply
