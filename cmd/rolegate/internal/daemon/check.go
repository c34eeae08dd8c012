package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// Check makes of a settings file all that serving makes of it, but listens
// nowhere and asks nobody. Its error names the mistakes.
func Check(ctx context.Context, f *settings.File) error {
	d := &daemon{Options: Options{Logger: slog.New(slog.DiscardHandler)}, start: f, idle: true}
	g, err := d.generation(ctx, f, nil)
	if err != nil {
		return err
	}
	return g.gate.release()
}

// CheckSockets says which Unix sockets could not be made here, because their
// folder is not there. It makes none.
func CheckSockets(f *settings.File) error {
	var errs []error
	for _, s := range listeners(f) {
		path, unix := strings.CutPrefix(s.address, "unix:")
		if s.name != controlSection && !unix {
			continue
		}
		if err := socketFolder(path); err != nil {
			place := s.name
			if unix {
				place += ".listen"
			}
			errs = append(errs, fmt.Errorf("%s: %w", place, err))
		}
	}
	return errors.Join(errs...)
}

// idle leaves of what a gate is made with no more than can be looked at.
func idle(cfg *rolegate.Config) {
	cfg.Source = idleSource{cfg.Source}
	if cfg.Cache != nil {
		cfg.Cache = idleCache{cfg.Cache}
	}
	if cfg.UpstreamSync != nil {
		cfg.UpstreamSync = idleSync{cfg.UpstreamSync}
	}
	cfg.RoleCodes = nil
}

var errIdle = errors.New("nothing is asked for: the settings are only looked at")

// validate asks for the mistakes of what was put together, as rolegate.Open does.
func validate(v any) error {
	if v, ok := v.(rolegate.Validator); ok {
		return v.Validate()
	}
	return nil
}

type idleSource struct{ of rolegate.Source }

func (s idleSource) Validate() error  { return validate(s.of) }
func (s idleSource) CacheKey() string { return "none" }
func (idleSource) Pull(context.Context, int64, func(rolegate.Record)) error {
	return errIdle
}

type idleCache struct{ of rolegate.Cache }

func (c idleCache) Validate() error                                  { return validate(c.of) }
func (idleCache) Load(context.Context) (io.ReadCloser, error)        { return nil, fs.ErrNotExist }
func (idleCache) Store(context.Context, func(io.Writer) error) error { return errIdle }

type idleSync struct{ of rolegate.SyncChecker }

func (s idleSync) Validate() error { return validate(s.of) }
func (idleSync) CheckSync(context.Context) (rolegate.SyncReport, error) {
	return rolegate.SyncReport{}, errIdle
}
