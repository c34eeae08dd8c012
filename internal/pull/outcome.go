package pull

// An Outcome is what a refresh that succeeded saw and changed.
type Outcome struct {
	Records int // records that the source yielded

	Added        int // users who were not listed before
	Removed      int // users who are no longer listed
	Changed      int // users with other roles or names than before
	LostAllRoles int // those of them who had roles and have none any more

	BadRecords    int // records that could not be understood
	NullRoles     int // users with null in place of their roles: they have none
	DroppedGrants int // grants without an organisation above 0 or a role code
	Duplicates    int // records of a user who was there already
	Conflicts     int // those of them whose roles differed
	Late          int // of a full one: changes that incremental ones should have shown

	Held int // users whose removal is held back

	Repeated int // pages that were asked for again; who calls the puller counts them
}

// Changes reports whether the refresh changed anything.
func (o Outcome) Changes() bool { return o.Added+o.Removed+o.Changed > 0 }

// plus adds up two parts of an outcome.
func (o Outcome) plus(p Outcome) Outcome {
	o.Added += p.Added
	o.Removed += p.Removed
	o.Changed += p.Changed
	o.LostAllRoles += p.LostAllRoles
	o.Records += p.Records
	o.BadRecords += p.BadRecords
	o.NullRoles += p.NullRoles
	o.DroppedGrants += p.DroppedGrants
	o.Duplicates += p.Duplicates
	o.Conflicts += p.Conflicts
	o.Late += p.Late
	return o
}
