package rediscache

import "github.com/redis/go-redis/v9"

// The hash at KEYS[1] is the state:
//
//	token   who holds the lease; empty if it was given back
//	until   until when, in milliseconds of Redis' clock
//	span    how long the lease was given for, in milliseconds
//	term    the term of the lease, or of the last one
//	proof   the term's seal
//	newest  the newest version
//	last    which call published it, so that a repeated one does no harm
//	ptr     the pointer to the newest whole index, sealed
//	snap    the name in it
//	chunks  how many chunks it has
//	broken  the name of a whole index that somebody could not read
//	logb    how many bytes of changes the log has since that
//	logn    how many changes
//
// All of it may be forged: what is not a number counts as 0, and what is of
// another type as nothing. Whether the lease runs is judged by Redis' clock
// within the script that needs to know; one that runs for longer than it can
// have been given for was given before a clock was set back, or was restored
// from a backup, and has run out. Terms and versions are compared for equality
// only, since Lua's numbers have no 64 bits.
const prelude = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function num(s)
	if type(s) == 'string' and #s <= 15 and string.match(s, '^%d+$') then return tonumber(s) end
	return 0
end

local function text(n) return string.format('%.0f', n) end

local fields = {'token', 'until', 'span', 'term', 'proof', 'newest', 'last', 'ptr', 'snap', 'chunks', 'broken', 'logb', 'logn'}
local s = {}
local got = redis.pcall('HMGET', KEYS[1], unpack(fields))
for i, f in ipairs(fields) do s[f] = not got.err and got[i] or '' end

local till = num(s['until'])
local live = s.token ~= '' and till > now and till <= now + math.min(num(s.span), 60000)

local function heal(key, kind)
	local is = redis.call('TYPE', key).ok
	if is ~= kind and is ~= 'none' then redis.call('DEL', key) end
end
`

// look renews the lease, and says how things stand.
//
// KEYS: state, log, asks, snapshot (or state). ARGV: token, the term to renew or
// "", its proof, lease in ms, how long to keep everything in ms.
var look = redis.NewScript(prelude + `
local mine = live and s.token == ARGV[1]
local renewed = mine and s.term == ARGV[2]
if renewed then
	heal(KEYS[2], 'stream')
	heal(KEYS[3], 'stream')
	till, s.proof = now + tonumber(ARGV[4]), ARGV[3]
	redis.call('HSET', KEYS[1], 'until', text(till), 'span', ARGV[4], 'proof', s.proof)
	for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[5]) end
end
return {live and 1 or 0, mine and 1 or 0, renewed and 1 or 0, live and text(till - now) or '0', s.term, s.proof, s.newest, s.ptr, s.snap}
`)

// take begins a new term, unless the term is another by now than the caller
// knows: a lease that had run out, or was void, then is so still, since only a
// new term begins another.
//
// KEYS: state, log, asks. ARGV: the term that was, the new term, its proof, token
// ("" to begin it without a holder), lease in ms, how long to keep everything in
// ms.
var take = redis.NewScript(prelude + `
if s.term ~= ARGV[1] then return 0 end
heal(KEYS[1], 'hash')
heal(KEYS[2], 'stream')
heal(KEYS[3], 'stream')
redis.call('HSET', KEYS[1], 'term', ARGV[2], 'proof', ARGV[3], 'token', ARGV[4], 'until', text(now + tonumber(ARGV[5])), 'span', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
`)

// release gives the lease back. KEYS: state. ARGV: token.
var release = redis.NewScript(prelude + `
if s.token ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', '', 'until', '0')
return 1
`)

// publish moves the newest version by a change. It answers "whole" if nobody
// could follow: if the newest version is not the one from which the change
// leads, or what comes before is not there.
//
// KEYS: state, log, snapshot. ARGV: token, term, from, to, the sealed change,
// its bytes, which call it is, name of the snapshot, how long to keep
// everything in ms.
var publish = redis.NewScript(prelude + `
if s.last == ARGV[7] then return {'done', s.logb, s.logn} end
if not live or s.token ~= ARGV[1] or s.term ~= ARGV[2] then return {'lost'} end
if s.newest ~= ARGV[3] or s.snap ~= ARGV[8] or s.broken == ARGV[8] then return {'whole'} end
local chunks = redis.pcall('HLEN', KEYS[3])
local entries = redis.pcall('XLEN', KEYS[2])
if chunks ~= num(s.chunks) or type(entries) ~= 'number' or entries < num(s.logn) then return {'whole'} end
local added = redis.pcall('XADD', KEYS[2], ARGV[4], 'from', ARGV[3], 'change', ARGV[5])
if type(added) == 'table' and added.err then return {'whole'} end
local bytes, changes = text(num(s.logb) + tonumber(ARGV[6])), text(num(s.logn) + 1)
redis.call('HSET', KEYS[1], 'newest', ARGV[4], 'last', ARGV[7], 'logb', bytes, 'logn', changes)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[9]) end
return {'done', bytes, changes}
`)

// commit makes a snapshot that has been written the newest whole index: of the
// newest version, or of a new one.
//
// KEYS: state, log, snapshot, the last snapshot. ARGV: token, term, the newest
// version, that of the snapshot, the sealed pointer, what the log says of it,
// which call it is, name, number of chunks, name of the last snapshot, how long
// to keep everything in ms, how long the last snapshot, up to which version the
// log may be forgotten.
var commit = redis.NewScript(prelude + `
if s.last == ARGV[7] then return 'done' end
if not live or s.token ~= ARGV[1] or s.term ~= ARGV[2] then return 'lost' end
if s.newest ~= ARGV[3] then return 'moved' end
if redis.pcall('HLEN', KEYS[3]) ~= tonumber(ARGV[9]) then return 'gone' end
if ARGV[3] == ARGV[4] then
	redis.call('XTRIM', KEYS[2], 'MINID', '=', ARGV[13])
else
	redis.call('DEL', KEYS[2])
	redis.call('XADD', KEYS[2], ARGV[4], 'whole', ARGV[6])
end
redis.call('HSET', KEYS[1], 'newest', ARGV[4], 'last', ARGV[7], 'ptr', ARGV[5], 'snap', ARGV[8], 'chunks', ARGV[9], 'logb', '0', 'logn', '0')
redis.call('HDEL', KEYS[1], 'broken')
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[11]) end
if s.snap == ARGV[10] and s.snap ~= '' then redis.call('PEXPIRE', KEYS[4], ARGV[12]) end
return 'done'
`)

// report notes that a whole index cannot be read, so that the leader writes a
// new one. KEYS: state. ARGV: name.
var report = redis.NewScript(prelude + `
if s.snap == ARGV[1] then redis.call('HSET', KEYS[1], 'broken', ARGV[1]) end
return 1
`)

// clock reads the time of the one Redis of a cluster that has our keys, and the
// ID of the last entry of a stream. KEYS: the stream.
var clock = redis.NewScript(`
local time = redis.call('TIME')
local last = redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1')
return {time[1], time[2], last[1] and last[1][1] or ''}
`)

// tell adds a message to the leader. A stream that takes no more, because of
// what somebody else has put there, begins anew. KEYS: asks. ARGV: the sealed
// message, how many to keep about, how long to keep all of it in ms.
var tell = redis.NewScript(`
local function add() return redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'ask', ARGV[1]) end
local added = add()
if type(added) == 'table' and added.err then
	redis.call('DEL', KEYS[1])
	added = add()
	if type(added) == 'table' and added.err then return added end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return added
`)
