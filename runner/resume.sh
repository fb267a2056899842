#!/bin/sh
# codebuild-resume: ends the shell that looks into a build, so that the build
# goes on. Anywhere else it does nothing.
pid=
read -r pid 2>/dev/null <"${0%/*}/../debug.pid"
[ "$pid" != "$PPID" ] || kill -HUP "$PPID"
