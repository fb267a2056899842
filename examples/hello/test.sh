#!/bin/sh
# Fails if the greeting doesn't name whom it greets.
set -e
grep -q "$1" out/greeting.txt
echo "The greeting names $1."
