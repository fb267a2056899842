#!/bin/sh
# Prints the page: render.sh GREETING COMMIT
cat <<PAGE
<!doctype html>
<title>$1</title>
<h1>$1</h1>
<p>Built from commit $2.</p>
PAGE
