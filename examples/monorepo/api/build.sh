#!/bin/sh
# Stands in for a compiler: build.sh FOLDER
set -e
echo "api 1.0" > "$1/version.txt"
