package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rolegate/rolegate/promgate"
)

// admin is what operators and their programs see. Who may see the console, the
// gate decides; everything else tells nothing about anybody, but the listener
// is best where only operators reach it.
func (d *daemon) admin(g *generation) (http.Handler, error) {
	metrics, err := d.metrics(g)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		text := "rolegate: /metrics /healthz /readyz"
		if g.file.Admin.Console != nil {
			text += " /console"
		}
		_, _ = io.WriteString(w, text+"\n")
	})
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, map[string]bool{"alive": true}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		state, status := g.gate.Status().State, http.StatusOK
		if !state.Serving() || d.leaving.Load() {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, map[string]any{"state": state, "leaving": d.leaving.Load()})
	})
	if checks := g.file.Admin.Console; checks != nil {
		options, err := checks.Options()
		if err != nil {
			return nil, fmt.Errorf("admin.console: %w", err)
		}
		mux.Handle("/console", g.gate.Require(options...)(g.gate.console))
	}
	return mux, nil
}

func (d *daemon) metrics(g *generation) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		promgate.New(g.gate.Gate, nil),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "rolegate_settings_last_reload_successful", Help: "1 if the settings file was taken when it was read last.",
		}, func() float64 {
			if ok, _ := d.reloads.get(); !ok {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "rolegate_settings_last_reload_success_timestamp_seconds", Help: "When the settings in use were read.",
		}, func() float64 {
			_, last := d.reloads.get()
			return float64(last.UnixMilli()) / 1000
		}),
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(d.Logger.Handler(), slog.LevelWarn)}), nil
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone is no concern of ours
}
