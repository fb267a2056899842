#!/bin/sh
# codebuild-glob-search GLOB...: the files below this folder that match any
# glob, one a line, in the order of their names. ** crosses folders. It needs
# find, sed, grep and sort of the image.
LC_ALL=C
export LC_ALL
[ $# -gt 0 ] || { echo 'usage: codebuild-glob-search GLOB...' >&2; exit 2; }
for glob; do
	glob=${glob#./}
	pattern=$(printf '%s\n' "$glob" | sed -e 's/[.+()^$|\\]/\\&/g' -e 's/{\([^{}]*\),\([^{}]*\)}/(\1|\2)/g' -e ':a' -e 's/\(([^(),]*\),/\1|/' -e 'ta' \
		-e 's#\*\*/#\n1#g' -e 's#\*\*#\n2#g' -e 's#\*#[^/]*#g' -e 's#?#[^/]#g' -e 's#\n1#(.*/)?#g' -e 's#\n2#.*#g')
	find . -type f | sed 's#^\./##' | grep -E -e "^$pattern\$"
done | sort -u
