"""What Penstock is measured against; each prints `ready at http://HOST:PORT/` and serves until SIGTERM."""
