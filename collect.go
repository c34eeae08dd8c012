package rolegate

import (
	"cmp"
	"context"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/pull"
)

// This file hands the records of a Source to what makes a list of them.

// RefreshOutcome is what a refresh that succeeded saw and changed.
type RefreshOutcome struct {
	Records int `json:"records"` // records that the source yielded

	Added        int `json:"added"`          // users who were not listed before
	Removed      int `json:"removed"`        // users who are no longer listed
	Changed      int `json:"changed"`        // users with other roles or names than before
	LostAllRoles int `json:"lost_all_roles"` // those of them who had roles and have none any more

	BadRecords    int `json:"bad_records"`    // records that could not be understood
	NullRoles     int `json:"null_roles"`     // users with null in place of their roles: they have none
	DroppedGrants int `json:"dropped_grants"` // grants without an organisation above 0 or a role code
	Duplicates    int `json:"duplicates"`     // records of a user who was there already
	Conflicts     int `json:"conflicts"`      // those of them whose roles differed
	Late          int `json:"late"`           // of a full one: changes that incremental ones should have shown

	Held int `json:"held"` // users whose removal is held back: see Status.Held

	Repeated int `json:"repeated_pages"` // pages that were asked for again: see RefreshStatus.Repeated
}

// read reads the source from behind that sequence into what list returns. It calls
// ended after each page, if the source knows pages.
func (c *settings) read(ctx context.Context, after int64, list func() *pull.List, ended func(context.Context) error) (err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if source, ok := c.Source.(PageSource); ok {
		err = source.PullPages(ctx, after, func(records []Record) error {
			for n := range records {
				if err := take(list(), &records[n]); err != nil {
					return err
				}
			}
			return ended(ctx)
		})
	} else {
		var failed error
		err = c.Source.Pull(ctx, after, func(r Record) {
			if failed == nil {
				if failed = take(list(), &r); failed != nil {
					stop(failed)
				}
			}
		})
		err = cmp.Or(failed, err)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // a source that returns nil when it was cut short
	}
	return err
}

// take hands one record to a list. An error makes the whole refresh fail.
func take(list *pull.List, r *Record) error {
	wanted, err := list.Begin(pull.Record{
		ID: r.UserID, Sequence: r.Sequence, NullRoles: r.NullRoles,
		Bad: r.Bad, Structural: r.Structural, Unreadable: r.Unreadable.fields(),
	})
	if err != nil || !wanted {
		return err
	}
	for _, g := range r.Grants {
		if err := list.Grant(g.OrgID, g.RoleCode); err != nil {
			return err
		}
	}
	text := [index.NumFields]string{r.Account, r.Email, r.ThirdAccount, r.ThirdUserID, r.Nickname, r.ThirdUserName}
	if id := (Identity{kind: KindThirdUserID, text: r.ThirdUserID}); id.nobody() {
		text[index.FieldThirdUserID] = "" // 0 and -1 are how platforms write null
	}
	list.End(&text)
	return nil
}

// changeOf is a change of the list for Config.OnChange.
func (f *refresher) changeOf(c pull.Change) Change {
	of := func(ids []int64) (users []UserChange) {
		for _, id := range ids {
			users = append(users, UserChange{UserID: id, Before: userIn(c.Before.Snapshot, id).Grants(), After: userIn(c.Next.Snapshot, id).Grants()})
		}
		return users
	}
	return Change{Time: f.clock().Time(), Full: c.Full, Generation: c.Next.Number, Added: of(c.Added), Removed: of(c.Removed), Changed: of(c.Changed)}
}
