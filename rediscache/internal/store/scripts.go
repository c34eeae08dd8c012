package store

import "github.com/redis/go-redis/v9"

// The hash at KEYS[1] is the state:
//
//	epoch   names the time for which what is here counts; a new one begins with nothing
//	clock   the highest time that was told, in microseconds
//	name    of the base; began is when it did, in microseconds; seal authenticates both
//	chunks  how many the base has
//	wanted  somebody waits for a base that began then or later
//	logb    how many bytes the log has, about
//	t0, u0  who holds the lease for incremental refreshes, and until when; t1, u1 for full ones
//
// All of it may be forged: what is no number counts as 0, and what is of another
// type, or longer than any of these, as nothing. A clock that was put back by more
// than a second makes all times worthless, and so everything begins anew.
const prelude = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function num(s)
	if type(s) == 'string' and #s <= 16 and string.match(s, '^%d+$') then return tonumber(s) end
	return 0
end

local function text(n) return string.format('%.0f', n) end

local fields = {'epoch', 'clock', 'name', 'began', 'seal', 'chunks', 'wanted', 'logb', 't0', 'u0', 't1', 'u1'}
local s = {}
local got = redis.pcall('HMGET', KEYS[1], unpack(fields))
for i, f in ipairs(fields) do
	s[f] = not got.err and got[i] or ''
	if #s[f] > 1024 then s[f] = '' end
end

local function anew()
	redis.call('DEL', KEYS[1], KEYS[2])
	for _, f in ipairs(fields) do s[f] = '' end
end
if num(s.clock) > now + 1000000 then anew() end

local function held(k) return num(s['u' .. k]) > now and num(s['u' .. k]) <= now + 300000000 end
local function mine(k, token) return held(k) and s['t' .. k] == token end
`

// sync says how things stand, and acquires or renews leases.
//
// KEYS: state, log. ARGV: a new epoch, token, lease and how long to keep
// everything in ms, cursor, name and beginning of the base that the caller
// knows, which leases it wants, whether somebody waits, the epoch to end.
var syncScript = redis.NewScript(prelude + `
if s.epoch == ARGV[11] and s.epoch ~= '' then anew() end
local set = {}
local function put(f, v) s[f] = v; set[#set + 1] = f; set[#set + 1] = v end
if s.epoch == '' then
	anew()
	put('epoch', ARGV[1])
end
if now > num(s.clock) + 100000 then put('clock', text(now)) end
if ARGV[10] == '1' then put('wanted', text(now)) end

local function id(x)
	local ms, n = string.match(x, '^(%d+)-(%d+)$')
	return tonumber(ms or 0), tonumber(n or 0)
end
local cursor = ARGV[5]
local last = redis.pcall('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')
if last.err then redis.call('DEL', KEYS[2]); last = {} end
local from = '-'
if last[1] and cursor ~= '' then
	local a, b = id(cursor)
	local c, d = id(last[1][1])
	if a < c or a == c and b <= d then from = '(' .. cursor else cursor = '' end
end
local entries, bytes, more = {}, 0, 0
if last[1] then
	for _, e in ipairs(redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', '64')) do
		if bytes > 1048576 then more = 1; break end
		local value = e[2][2] or ''
		if #value <= 1048576 then
			entries[#entries + 1] = value
			bytes = bytes + #value
		end
		cursor = e[1]
	end
	if cursor ~= last[1][1] then more = 1 end
end

local knows = #entries == 0 and more == 0 and s.name == ARGV[6] and (s.began == ARGV[7] or num(s.began) == 0 and ARGV[7] == '0')
local answer = {}
for k = 0, 1 do
	local got = 0
	if ARGV[8 + k] == '1' and (mine(k, ARGV[2]) or knows and not held(k)) then
		got = 1
		put('t' .. k, ARGV[2])
		put('u' .. k, text(now + tonumber(ARGV[3]) * 1000))
	end
	answer[#answer + 1] = got
	answer[#answer + 1] = (got == 0 and held(k)) and 1 or 0
end
if #set > 0 then
	if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
	redis.call('HSET', KEYS[1], unpack(set))
	redis.call('PEXPIRE', KEYS[1], ARGV[4])
	redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return {text(now), s.epoch, s.name, s.began, s.seal, text(math.min(num(s.wanted), now)), cursor, more, answer[1], answer[2], answer[3], answer[4], entries}
`)

// appendScript puts rows into the log. It answers 0 if their times are of
// another epoch.
//
// KEYS: state, log. ARGV: epoch, the sealed rows, how long to keep everything in
// ms.
var appendScript = redis.NewScript(prelude + `
if s.epoch ~= ARGV[1] then return 0 end
local bytes = num(s.logb) + #ARGV[2]
if bytes > 8388608 then
	redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', '8')
	bytes = #ARGV[2]
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', '1024', '*', 'r', ARGV[2])
redis.call('HSET', KEYS[1], 'logb', text(bytes))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
`)

// publishScript makes a base the one that is published, if the caller holds the
// lease and the base is later than the one before. It answers "whole" if the
// contents that are said to be there are not.
//
// KEYS: state, log, the base, the base before. ARGV: token, epoch, name,
// beginning, seal, chunks or "" if it is published already, how long to keep everything and the base before in
// ms, the beginning in ms.
var publishScript = redis.NewScript(prelude + `
if s.epoch ~= ARGV[2] or not mine(1, ARGV[1]) then return 'lost' end
if s.name ~= '' and num(s.began) >= tonumber(ARGV[4]) and num(s.began) <= now + 1000000 then return 'older' end
local chunks = ARGV[6]
if chunks == '' then
	if s.name ~= ARGV[3] then return 'whole' end
	chunks = s.chunks
end
if redis.pcall('HLEN', KEYS[3]) ~= num(chunks) then return 'whole' end
redis.call('HSET', KEYS[1], 'name', ARGV[3], 'began', ARGV[4], 'seal', ARGV[5], 'chunks', chunks, 'logb', '0')
redis.pcall('XTRIM', KEYS[2], 'MINID', '=', ARGV[9])
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[7]) end
if KEYS[4] ~= KEYS[3] and KEYS[4] ~= KEYS[1] then redis.call('PEXPIRE', KEYS[4], ARGV[8]) end
return 'done'
`)

// releaseScript gives a lease back. KEYS: state, log. ARGV: which, token, for how
// long nobody is to have it in ms.
var releaseScript = redis.NewScript(prelude + `
local k = ARGV[1]
if not mine(k, ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 't' .. k, '', 'u' .. k, text(now + tonumber(ARGV[3]) * 1000))
return 1
`)

// brokenScript forgets a base that cannot be read. KEYS: state, log. ARGV: name.
var brokenScript = redis.NewScript(prelude + `
if s.name == ARGV[1] and s.name ~= '' then redis.call('HDEL', KEYS[1], 'name', 'began', 'seal', 'chunks') end
return 1
`)

// chunkScript reads a chunk of a base, unless it is too long. KEYS: the base. ARGV:
// the field, and the most bytes.
var chunkScript = redis.NewScript(`
if redis.call('HSTRLEN', KEYS[1], ARGV[1]) > tonumber(ARGV[2]) then return '' end
return redis.call('HGET', KEYS[1], ARGV[1]) or ''
`)

// spendScript takes one of so many in a minute that all replicas share. KEYS: the
// counter. ARGV: how many. It answers whether there was one, and for how many ms
// there is none.
var spendScript = redis.NewScript(`
local n = redis.pcall('INCR', KEYS[1])
if type(n) ~= 'number' then
	redis.call('SET', KEYS[1], '1')
	n = 1
end
local left = redis.call('PTTL', KEYS[1])
if n == 1 or left < 0 or left > 60000 then
	redis.call('PEXPIRE', KEYS[1], 60000)
	left = 60000
end
return {n <= tonumber(ARGV[1]) and 1 or 0, left}
`)
