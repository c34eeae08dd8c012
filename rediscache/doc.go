// Package rediscache has the replicas of an app share one index through Redis:
// one of them pulls from the marketplace, and the others follow it.
//
//	gate, err := rolegate.Open(ctx, rolegate.Config{
//		Source: client,
//		Cache: rediscache.New(rediscache.Config{
//			Client: redisClient, // the app's redis.UniversalClient
//			Secret: rediscache.Secret(os.Getenv("ROLEGATE_REDIS_SECRET")),
//		}),
//		…
//	})
//
// Any Redis from 6.2 on will do, and Valkey; alone, behind Sentinel, or as a
// Cluster. Make the secret once, with openssl rand -base64 48, and give it to
// all replicas. While it is being changed, those that have another one than the
// leader cannot follow, and pull by themselves; a later leader of theirs writes
// everything anew.
//
// # What is in Redis
//
// All keys begin with the prefix and, in braces, a digest of the list, so that
// they share a slot, and apps that have different lists never meet:
//
//	rolegate:{2f1c…}:state     who leads, until when, in which term; the newest version
//	rolegate:{2f1c…}:log       a stream of the changes since the newest whole index
//	rolegate:{2f1c…}:snap:…    the newest whole index, deflated, in chunks
//	rolegate:{2f1c…}:asks      a stream of messages to the leader
//
// The whole index takes about half of its size there, and the log as much as
// the whole index at most, or 1 MiB. While a new whole index is written there
// are two; the old one goes ten minutes later. Everything expires a week after
// the last replica has gone.
//
// # What Redis is trusted with
//
// With nothing but to be there. Index, changes and messages are encrypted and
// authenticated (AES-256-GCM, with a key that is derived from Secret), each for
// its place. Who can write to that Redis can keep replicas from sharing, so that
// each pulls by itself, and can put an older index in place of a newer one, by
// which the gate is not deceived; he cannot let anybody in. The state is in
// plain and decides nothing on its own: versions are authentic only with what
// leads to them, and terms have a seal.
//
// The lease is judged by Redis' clock inside the script that publishes: a leader
// that was paused and goes on writing is refused. If Redis loses what it had,
// by a restart without a disk, a failover or a backup that is restored, then
// replicas raise the term to the highest that any of them has seen, and the next
// whole index is the way for everybody.
//
// # What it asks of the client
//
// Calls return when their ctx ends, also if Redis has stopped answering. What
// the client was waiting for then, it goes on to wait for until its own timeouts
// end, so leave ReadTimeout at some seconds. Waiting for what is new takes two
// connections of the pool at most. ACLs: the commands that the scripts and the
// package use on keys with the prefix are EVAL, EVALSHA, HMGET, HSET, HDEL,
// HLEN, XADD, XREAD, XREVRANGE, XTRIM, XLEN, PEXPIRE, TYPE, DEL and UNLINK, and
// TIME.
package rediscache
