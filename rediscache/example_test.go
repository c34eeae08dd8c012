package rediscache_test

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

// Every replica of the app opens its gate like this. One of them pulls from the
// marketplace.
func Example() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"redis.internal:6379"}})
	defer client.Close()

	var source rolegate.Source // such as a marketplace.Client
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:   source,
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
		Cache: rediscache.New(rediscache.Config{
			Client: client,
			Secret: rediscache.Secret(os.Getenv("ROLEGATE_REDIS_SECRET")),
		}),
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer gate.Close()
}
