#!/usr/bin/env bash
# Installs the named Debian packages whose command is not there yet. A package's command has its name, or the one after a
# colon: nftables:nft.
set -euo pipefail

missing=()
for named in "$@"; do
  package=${named%%:*} command=${named##*:}
  command -v "$command" >/dev/null || [ -x "/usr/sbin/$command" ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "these are needed, and there is no apt-get to install them: ${missing[*]}" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "installing: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
