// Package browser tests the console in a real Chromium.
package browser
