#!/bin/sh
# Starts a mosquitto on 127.0.0.1 in the background and prints its process id
# once it accepts connections.
#
#   test/mosquitto.sh PORT [DIR [EXTRA]]
#
# DIR keeps configuration, log and persistent sessions, so that a later start
# finds them; without it nothing is kept. EXTRA is a file of configuration lines
# for the listener. Stop the broker with: kill PID
set -eu

port=${1:?usage: test/mosquitto.sh PORT [DIR [EXTRA]]}
dir=${2:-}
extra=${3:-}

PATH=$PATH:/usr/sbin:/usr/local/sbin
command -v mosquitto >/dev/null || {
	echo "mosquitto is not installed; apt-get install mosquitto" >&2
	exit 127
}

persistence=true
if [ -z "$dir" ]; then
	dir=$(mktemp -d)
	persistence=false
	trap 'rm -rf "$dir"' EXIT # it reads the file at start alone
fi

{
	echo "user $(id -un)" # root would become the user mosquitto, who can't write to DIR
	echo "persistence $persistence"
	echo "persistence_location $dir/"
	if [ "$persistence" = true ]; then
		echo "log_dest file $dir/mosquitto.log"
	else
		echo "log_dest none"
	fi
	echo "max_queued_messages 0"
	echo "max_inflight_messages 0"
	echo "set_tcp_nodelay true"
	echo "listener $port 127.0.0.1"
	case $extra in
	'') echo "allow_anonymous true" ;;
	*) cat "$extra" ;;
	esac
} >"$dir/mosquitto.conf"

mosquitto -c "$dir/mosquitto.conf" </dev/null >/dev/null 2>&1 &
pid=$!

listening() { # the kernel's table says so without a connection in the broker's log
	grep -qi ": 0100007F:$(printf %04X "$port") 00000000:0000 0A" /proc/net/tcp
}

tries=100
until listening; do
	tries=$((tries - 1))
	if [ $tries = 0 ] || ! kill -0 $pid 2>/dev/null; then
		echo "mosquitto does not listen on 127.0.0.1:$port; run: mosquitto -v -c $dir/mosquitto.conf" >&2
		trap - EXIT
		kill $pid 2>/dev/null || true
		exit 1
	fi
	sleep 0.05
done
echo $pid
