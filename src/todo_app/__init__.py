"""The running service: settings, wiring, HTTP and the command line."""
