package rolegate

// WithClock returns cfg with a clock for tests about clocks that are set, and
// about machines that sleep: readings in nanoseconds, monotonic and wall.
func WithClock(cfg Config, read func() (mono, wall int64)) Config {
	cfg.clock = func() instant {
		mono, wall := read()
		return instant{mono: mono, wall: wall}
	}
	return cfg
}

// ReadClock reads the clock that gates read.
func ReadClock() (mono, wall int64) {
	i := readClock()
	return i.mono, i.wall
}
