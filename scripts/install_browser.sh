#!/usr/bin/env bash
# Put a Chromium on PATH for the tests marked `browser` (Debian, Ubuntu); does nothing where one is.
# The Python side is the package playwright, part of the extra `dev`.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then
    echo "install_browser: $(command -v "$name") is already there"
    exit 0
  fi
done
if ! command -v apt-get >/dev/null; then
  echo "install_browser: no apt-get here; install Chromium by hand and put it on PATH" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
echo "install_browser: $(command -v chromium)"
