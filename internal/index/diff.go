package index

// A Comparison counts what differs between two snapshots.
type Comparison struct {
	Before, After *Snapshot

	Added, Removed, Changed int
	LostAllRoles            int // of those who changed: they had roles, and have none
}

// A Difference is what has become of one user.
type Difference uint8

// What can become of a user.
const (
	UserSame Difference = iota // nothing, or listed neither before nor after
	UserAdded
	UserRemoved
	UserChanged
)

// Look compares what the snapshots say of one user, and counts it.
func (c *Comparison) Look(id int64) Difference {
	at, was := c.Before.Find(id)
	to, is := c.After.Find(id)
	switch {
	case was && is:
		if c.Before.same(at, &c.After.Table, to) {
			return UserSame
		}
		c.Changed++
		if len(c.Before.Grants(at)) > 0 && len(c.After.Grants(to)) == 0 {
			c.LostAllRoles++
		}
		return UserChanged
	case is:
		c.Added++
		return UserAdded
	case was:
		c.Removed++
		return UserRemoved
	}
	return UserSame
}
