// Package rediscache has the replicas of an app share one list through Redis: what
// one of them has read of the marketplace counts for all.
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
// Cluster. Make the secret once, with openssl rand -base64 48, and give it to all
// replicas. While it is being changed, those that have another one share nothing
// with the others.
//
// Redis is trusted to be there, and with its clock. What is in it is encrypted and
// authenticated (AES-256-GCM, with a key that is derived from Secret), each piece
// for its place. Whoever can write to that Redis can keep replicas from sharing, so
// that each refreshes by itself; they cannot admit anybody.
//
// Calls return when their ctx ends, also if Redis has stopped answering. What the
// client was waiting for then, it goes on to wait for until its own timeouts end, so
// leave ReadTimeout at some seconds.
//
// docs/replicas.md has the protocol, what each failure does, the keys and their
// sizes, and the rights that an ACL must give.
package rediscache
