#!/bin/sh
# The revision's own folder is the working directory.
if [ -s site/index.html ]; then
	echo "The page is there."
else
	echo "The page is missing." >&2
	exit 1
fi
