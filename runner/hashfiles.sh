#!/bin/sh
# codebuild-hash-files GLOB...: one SHA-256 over the files below the source that
# match any glob, as a cache key's $(codebuild-hash-files GLOB...) has it: name,
# NUL, size, NUL and content of each, in the order of their names. It needs
# wc, cat and sha256sum of the image, and what codebuild-glob-search needs.
cd "$CODEBUILD_SRC_DIR" || exit 1
LC_ALL=C
export LC_ALL
[ $# -gt 0 ] || { echo 'usage: codebuild-hash-files GLOB...' >&2; exit 2; }
command -v sha256sum >/dev/null || { echo 'codebuild-hash-files: this image has no sha256sum' >&2; exit 127; }
list=$(codebuild-glob-search "$@")
[ -n "$list" ] || { echo "codebuild-hash-files: no file matches $*" >&2; exit 1; }
sum=$(printf '%s\n' "$list" | while IFS= read -r name; do
	printf '%s\000%s\000' "$name" "$(($(wc -c <"$name")))"
	cat -- "$name"
done | sha256sum)
echo "${sum%% *}"
