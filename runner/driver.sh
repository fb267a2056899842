# Slipway's driver: the one process that runs a build's commands. The runner
# puts scripts into this file's folder and orders on standard input; the output
# of the commands goes to standard output with a mark before and after each,
# which begins with a random word of the order. Only builtins are used, so an
# image needs nothing but a shell and the build cannot break it with a PATH.
#
# Orders:  run WORD SHELL BATCH STATE   run the commands listed in BATCH.list
#          beat                         the runner is still there
#          stop                         ask the running command to end; with a
#                                       file BATCH.stop no other begins
# Marks:   WORD B N                     command N begins
#          WORD E N STATUS              it ended
#          WORD G STATUS                the shell of several commands ended
#          WORD D STATE                 the batch is done; the last saved state
exec 2>&1
umask 022
_sw=${0%/*}
_sw_sh=$(command -v sh)
_sw_bash=$(command -v bash)
_sw_sleep=$(command -v sleep)

# What the image sets is kept in a file that the first state reads, and taken
# out of this process, so that a variable that the build unsets stays unset.
[ -e "$_sw/image.sh" ] || export -p >"$_sw/image.sh"
while IFS= read -r _sw_line; do
	case $_sw_line in
	"export "*) _sw_line=${_sw_line#export } ;;
	"declare -x "*) _sw_line=${_sw_line#declare -x } ;;
	*) continue ;;
	esac
	_sw_line=${_sw_line%%=*}
	case $_sw_line in
	"" | _sw* | *[!A-Za-z0-9_]*) ;;
	*) unset "$_sw_line" ;;
	esac
done <"$_sw/image.sh"

# The runner's death closes standard input; a hanging runner sends no beat.
# Where read knows no time limit, a file stands in for the beats.
if (IFS= read -t 5 -r _sw_line) 2>/dev/null <<_sw_end; then
x
_sw_end
	_sw_order() { IFS= read -t 10 -r _sw_line; }
else
	_sw_order() { IFS= read -r _sw_line; }
	_sw_beats() {
		while "$_sw_sleep" 10; do
			IFS= read -r _sw_line <"$_sw/beat"
			[ "$_sw_line" = "$_sw_last" ] && kill -KILL 0
			_sw_last=$_sw_line
		done
	}
	[ -n "$_sw_sleep" ] && [ -e "$_sw/beat" ] && _sw_beats </dev/null >/dev/null &
fi

# A stop reaches the whole group: its commands are asked to end, the driver stays
# and waits for them. A subshell forgets the traps of its parent.
_sw_stay() { trap : HUP INT QUIT TERM; }

_sw_watch() {
	_sw_stay
	while _sw_order; do
		case $_sw_line in
		beat) ;;
		stop) kill -TERM 0 ;;
		*) echo "$_sw_line" ;;
		esac
	done
	kill -KILL 0
}

_sw_choose() {
	case $1 in
	auto) _sw_shell=${_sw_bash:-$_sw_sh} ;;
	bash) _sw_shell=${_sw_bash:-bash} ;;
	sh) _sw_shell=$_sw_sh ;;
	*) _sw_shell=$1 ;;
	esac
}

_sw_run() {
	while read -r _sw_kind _sw_i; do
		case $_sw_kind in
		one)
			echo "$_sw_word B $_sw_i"
			_sw_from=$_sw/$_sw_state "$_sw_shell" "$_sw/$_sw_i/script.sh" </dev/null
			_sw_status=$?
			echo "$_sw_word E $_sw_i $_sw_status"
			;;
		many)
			_sw_from=$_sw/$_sw_state "$_sw_shell" "$_sw/$_sw_i/group.sh" <<_sw_end
$_sw_word
_sw_end
			_sw_status=$?
			echo "$_sw_word G $_sw_status"
			;;
		esac
		[ -e "$_sw/$_sw_i/ok" ] && _sw_state=$_sw_i
		[ "$_sw_status" = 0 ] && [ ! -e "$_sw/$1.stop" ] || break
	done <"$_sw/$1.list"
	echo "$_sw_word D $_sw_state"
}

_sw_serve() {
	_sw_stay
	while IFS=' ' read -r _sw_line _sw_word _sw_kind _sw_batch _sw_state; do
		_sw_choose "$_sw_kind"
		_sw_run "$_sw_batch"
	done
}

_sw_stay
_sw_watch | _sw_serve
