package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// The names of the listeners: those of their sections in the settings file.
const (
	forwardAuthSection = "forward_auth"
	authZENSection     = "authzen"
	adminSection       = "admin"
	controlSection     = "control"
)

// A server is a listener and who serves it.
type server struct {
	name     string
	listener net.Listener
	server   *http.Server
}

// listen opens every listener of the file, or none.
func (d *daemon) listen(f *settings.File) (servers []*server, err error) {
	defer func() {
		if err != nil {
			for _, s := range servers {
				err = errors.Join(err, s.listener.Close())
			}
			servers = nil
		}
	}()
	for _, section := range listeners(f) {
		listener, err := open(section)
		if err != nil {
			return servers, fmt.Errorf("%s: %w", section.name, err)
		}
		if section.tls != nil {
			listener = tls.NewListener(listener, d.tls(section.name))
		}
		servers = append(servers, &server{name: section.name, listener: listener, server: &http.Server{
			Handler:           d.serve(section.name),
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      writeTimeout(section.name, f),
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          slog.NewLogLogger(d.Logger.Handler(), slog.LevelWarn),
		}})
	}
	return servers, nil
}

// writeTimeout is how long an answer may take: the body of a question, what the
// gate waits for at most, and some time to spare. 0, of the listeners for operators,
// is no limit: a reload waits long.
func writeTimeout(name string, f *settings.File) time.Duration {
	if name != forwardAuthSection && name != authZENSection {
		return 0
	}
	return 30*time.Second + cmp.Or(time.Duration(f.Refresh.MaxAgeWait), 3*time.Second) + cmp.Or(time.Duration(f.OnDeny.Wait), time.Second)
}

// tls serves with the certificate of the current generation. The gate is asked
// by programs, over few connections: HTTP/1.1 will do.
func (d *daemon) tls(name string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return d.now.Load().certificates[name], nil },
	}
}

// A section is one that has a listener.
type section struct {
	name, address string
	tls           *settings.TLS // nil: plain HTTP
}

func listeners(f *settings.File) (all []section) {
	if f.ForwardAuth != nil {
		all = append(all, section{forwardAuthSection, f.ForwardAuth.Listen, f.ForwardAuth.TLS})
	}
	if f.AuthZEN != nil {
		all = append(all, section{authZENSection, f.AuthZEN.Listen, f.AuthZEN.TLS})
	}
	if f.Admin != nil {
		all = append(all, section{adminSection, f.Admin.Listen, f.Admin.TLS})
	}
	if f.Control != "" {
		all = append(all, section{name: controlSection, address: f.Control})
	}
	return all
}

func open(s section) (net.Listener, error) {
	if s.name == controlSection {
		return listenUnix(s.address, 0o600)
	}
	if path, unix := strings.CutPrefix(s.address, "unix:"); unix {
		return listenUnix(path, 0o660)
	}
	return net.Listen("tcp", s.address)
}

// maxSocket is how long the path of a socket may be where that is least, on macOS.
const maxSocket = 103

// listenUnix listens on a Unix socket. Only those that the mode allows can connect
// to it: the user of the process, for a proxy's also its group. It is made in a folder of its own, which nobody else can
// look into, and put into its place when it is no longer open to others.
func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := socketFolder(path); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(filepath.Dir(path), ".rolegate-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	made := filepath.Join(folder, "s")
	l, err := net.Listen("unix", made)
	if err != nil && len(made) > maxSocket {
		return nil, fmt.Errorf("%w: this is longer than the path of a socket may be: expected a shorter one, such as /run/rolegate/control.sock", err)
	}
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by its old name it could not
	if err := errors.Join(os.Chmod(made, mode), os.Rename(made, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &unixListener{Listener: l, path: path}, nil
}

// socketFolder says what is wrong with the folder that a socket is to be in, and
// how to make it.
func socketFolder(path string) error {
	folder := filepath.Dir(path)
	switch info, err := os.Stat(folder); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: make it as the user that rolegate runs as (install -d -m 700 %[1]s; with systemd: RuntimeDirectory=%[2]s), or give another path", folder, filepath.Base(folder))
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder: expected a path in one", folder)
	}
	return nil
}

// removeStale removes the socket of a process that is gone, and nothing else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket: expected a path of its own", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("%s: another rolegate listens there: end it, or give this one another path", path), conn.Close())
	case os.IsTimeout(err), errors.Is(err, fs.ErrPermission): // EAGAIN too: its queue is full, so it has one
		return fmt.Errorf("%s: a process listens there and does not answer: end it, or give this one another path: %w", path, err)
	}
	return os.Remove(path)
}

// A unixListener removes its socket before it is closed: from then on another
// server takes the path for its own, and puts its socket there.
type unixListener struct {
	net.Listener
	path string
	once sync.Once
}

func (l *unixListener) Close() (err error) {
	l.once.Do(func() { err = os.Remove(l.path) })
	return errors.Join(err, l.Listener.Close())
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// goodbye is how long requests that are under way may go on.
const goodbye = 5 * time.Second

// shutDown ends all servers at once. Those that do not come to an end in time
// are broken off.
func shutDown(servers []*server, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	ended := make(chan error, len(servers))
	for _, s := range servers {
		go func() {
			err := s.server.Shutdown(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				log.Warn("requests that were under way are broken off", "listener", s.name, "after", goodbye)
				err = s.server.Close()
			}
			ended <- err
		}()
	}
	var errs []error
	for range servers {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}
