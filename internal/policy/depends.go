package policy

// This file is what checks come to if nobody can be asked about the conditions.

// Depends evaluates all checks without a request: they pass whatever the conditions
// say, they fail whatever those say (RoleMissing), or it depends on them
// (ConditionFailed). It looks in that organisation, or, if org is 0, in any one.
func (p *Program) Depends(s Subject, org int64) Verdict {
	strict, _ := p.Run(s, org, never)
	lenient, _ := p.Run(s, org, always)
	return depends(strict, lenient)
}

// DependsEach is Depends in each organisation in which the subject has a role, by
// organisation ascending.
func (p *Program) DependsEach(s Subject) (verdicts []Verdict) {
	p.EachOrg(s, never, func(_ int64, v Verdict) { verdicts = append(verdicts, v) })
	i := 0
	p.EachOrg(s, always, func(_ int64, v Verdict) {
		verdicts[i] = depends(verdicts[i], v)
		i++
	})
	return verdicts
}

func never(int) bool  { return false }
func always(int) bool { return true }

// depends makes one verdict of those with every condition failing, and with every
// one holding.
func depends(strict, lenient Verdict) Verdict {
	switch {
	case strict == Passes:
		return Passes
	case lenient == Passes:
		return ConditionFailed
	}
	return RoleMissing
}
