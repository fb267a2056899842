#!/bin/sh
# The deployment succeeds only if the page is there.
grep -q Deployed "$SLIPWAY_TARGET_ROOT/srv/service/index.html"
