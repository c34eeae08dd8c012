// Package browser tests with a real Chromium: the console, and an app behind nginx.
package browser
