# shellcheck shell=bash
# What the scripts here share; each has its own USAGE.

fail() {
    local script=${0##*/}
    echo "${script%.sh}: $*" >&2
    exit 2
}

number() { # OPTION VALUE
    [[ ${2-} =~ ^[0-9]{1,6}$ ]] || fail "$1 needs a number
$USAGE"
    echo "$((10#$2))"
}
