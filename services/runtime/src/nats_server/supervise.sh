# Runs a server that cannot outlive the process that holds the other end of stdin.
# A line on stdin dismisses the watchdog; end of file means that our holder is dead.
exec 3<&0
own=$$
(
    read -r _ <&3 && exit 0
    kill -TERM "$own" 2>/dev/null
    left=10
    while [ "$left" -gt 0 ] && kill -0 "$own" 2>/dev/null; do
        sleep 1
        left=$((left - 1))
    done
    kill -KILL "$own" 2>/dev/null
) </dev/null >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null
