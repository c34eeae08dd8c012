package refresh_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/internal/refresh"
)

func TestQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logbook.Book
		tasks := refresh.NewTasks()
		var got []int
		q := refresh.StartQueue(tasks, slog.New(slog.NewTextHandler(&book, nil)), 3, "the hook", func(n int) {
			got = append(got, n)
			if n == 2 {
				panic("oh no")
			}
			time.Sleep(time.Second)
		})
		q.Put(1)
		synctest.Wait() // it is being handed on
		for n := 2; n <= 6; n++ {
			q.Put(n)
		}
		assert.EqualValues(t, 2, q.Dropped(), "5 and 6 do not fit")
		pass(time.Minute)
		assert.Equal(t, []int{1, 2, 3, 4}, got)
		assert.Contains(t, book.String(), "the hook")

		for n := range 3 {
			q.Put(n + 7)
		}
		synctest.Wait()
		tasks.End()
		tasks.Wait()
		assert.Equal(t, []int{1, 2, 3, 4, 7}, got, "what waits is not handed on at the end")
	})
}

func TestQueueWithoutAHook(t *testing.T) {
	t.Parallel()
	q := refresh.StartQueue[int](nil, nil, 3, "the hook", nil)
	q.Put(1)
	assert.Zero(t, q.Dropped())
}
