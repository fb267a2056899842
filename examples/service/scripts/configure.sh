#!/bin/sh
set -e
# SLIPWAY_TARGET_ROOT is the folder of slipway deploy --root, else empty.
printf '%s\n' "$DEPLOYMENT_GROUP_NAME" > "$SLIPWAY_TARGET_ROOT/srv/service/group.txt"
