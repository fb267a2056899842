#!/bin/sh
# codebuild-tests-run --test-command C --files-search F [--sharding-strategy S]:
# runs the test command with those of the files that F prints which are this
# build's share of a fanout; outside of one, with all of them. They are in
# CODEBUILD_CURRENT_SHARD_FILES, one a line, and behind the command unless it
# names that variable. It needs sort, sed, grep and, for stability, cksum.
usage() {
	echo "codebuild-tests-run: $1" >&2
	echo 'usage: codebuild-tests-run --test-command COMMAND --files-search COMMAND [--sharding-strategy equal-distribution|stability]' >&2
	exit 2
}
test='' search='' strategy=equal-distribution
while [ $# -gt 0 ]; do
	case $1 in
	--*=*) name=${1%%=*} value=${1#*=} ;;
	*)
		[ $# -gt 1 ] || usage "want a value behind $1"
		name=$1 value=$2
		shift
		;;
	esac
	shift
	case $name in
	--test-command) test=$value ;;
	--files-search) search=$value ;;
	--sharding-strategy) strategy=$value ;;
	*) usage "there is no option $name" ;;
	esac
done
[ -n "$test" ] || usage 'want --test-command'
[ -n "$search" ] || usage 'want --files-search'
case $strategy in equal-distribution | stability) ;; *) usage "there is no sharding strategy $strategy" ;; esac
shell=sh
command -v bash >/dev/null && shell=bash
shard=${SLIPWAY_SHARD:-1} shards=${SLIPWAY_SHARDS:-1}

found=$($shell -c "$search") || { echo "codebuild-tests-run: the search for files failed: $search" >&2; exit 1; }
found=$(printf '%s\n' "$found" | LC_ALL=C sort -u | sed '/^$/d')
all=0
[ -z "$found" ] || all=$(printf '%s\n' "$found" | grep -c '')

# Shares of sizes that differ by 1 at most, the larger ones first.
equal() {
	size=$((all / shards)) larger=$((all % shards)) before=$((shard - 1))
	start=$((before * size + (before < larger ? before : larger) + 1))
	[ "$before" -ge "$larger" ] || size=$((size + 1))
	[ "$size" -eq 0 ] || printf '%s\n' "$found" | sed -n "$start,$((start + size - 1))p"
}

# Each file goes where the hash of its name and the share is the largest: with
# another share, only those that it gets change places.
stable() {
	printf '%s\n' "$found" | while IFS= read -r file; do
		sum=$(printf %s "$file" | cksum)
		sum=${sum%% *} best=-1 winner=0 n=1
		while [ "$n" -le "$shards" ]; do
			x=$(((sum ^ (n * 2654435761)) & 4294967295))
			x=$(((x ^ (x >> 15)) * 2246822519 & 4294967295))
			x=$(((x ^ (x >> 13)) * 3266489917 & 4294967295))
			x=$((x ^ (x >> 16)))
			[ "$x" -le "$best" ] || best=$x winner=$n
			n=$((n + 1))
		done
		[ "$winner" -ne "$shard" ] || printf '%s\n' "$file"
	done
}

CODEBUILD_CURRENT_SHARD_FILES=
if [ "$all" -gt 0 ]; then
	case $strategy in
	stability) CODEBUILD_CURRENT_SHARD_FILES=$(stable) ;;
	*) CODEBUILD_CURRENT_SHARD_FILES=$(equal) ;;
	esac
fi
if [ -z "$CODEBUILD_CURRENT_SHARD_FILES" ]; then
	echo "codebuild-tests-run: share $shard of $shards has none of the $all file(s), so nothing runs"
	exit 0
fi
export CODEBUILD_CURRENT_SHARD_FILES
case $test in
*CODEBUILD_CURRENT_SHARD_FILES*) ;;
*) test=$test$(printf '%s\n' "$CODEBUILD_CURRENT_SHARD_FILES" | sed -n -e "s/'/'\\\\''/g" -e "s/.*/ '&'/" -e H -e '${x;s/\n//g;p;}') ;;
esac
exec $shell -c "$test"
