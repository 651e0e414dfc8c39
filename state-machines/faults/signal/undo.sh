#!/bin/sh
# Nothing to put back: a dead process stays dead, and bringing the service back is what is measured.
exit 0
