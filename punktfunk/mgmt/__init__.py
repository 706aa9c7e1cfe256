"""The management API and the web console: HTTP in front of a host that is seen through :mod:`.interface` only."""
