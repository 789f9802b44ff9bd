#!/bin/bash
# Prints a Python of 3.11 or later: $PYTHON if set, else the first that runs among the usual names.
set -eu

recent_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

for python in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
  if recent_enough "$python"; then
    echo "$python"
    exit 0
  fi
done
echo "Python 3.11 or later is needed; none of these is one: ${PYTHON:-python3.11, python3.12," \
  "python3.13, python3}. Name one: make PYTHON=/path/to/python3" >&2
exit 1
