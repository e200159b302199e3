"""The admin dashboard: a local web application for those who are on call or in support.

It asks the API as `admin-dashboard-service` (on a stage, as the caller's own credentials), and reads metrics and dead
letters as the `ras` commands do. It keeps nothing, and writes nothing but the replays that somebody confirms.
"""

PORT = 8600
"""Where it listens, unless that is taken. The environment's RAS_DASHBOARD_PORT names another."""
