#!/usr/bin/env bash
# What some tests need from Debian: a browser, a memcached, an nginx, a Prometheus with its exporter and its gateway,
# systemd; the bench of the reader, a load tool. Run by make before the tests. Installs what is missing where it may
# (root on a machine with apt-get); else says what is missing, and how to get it.
set -euo pipefail
declare -A package=([chromium]=chromium [memcached]=memcached [nginx]=nginx-light [wrk]=wrk
  [promtool]=prometheus [prometheus-node-exporter]=prometheus-node-exporter
  [prometheus-pushgateway]=prometheus-pushgateway [systemd-analyze]=systemd)
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
wanted=("${missing[@]}" fonts-dejavu-core fonts-noto-color-emoji)
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "[setup] Debian packages for the tests: ${wanted[*]}"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${wanted[@]}"; } >"$log" 2>&1; then
    rm -f "$log"
    exit 0
  fi
  tail -5 "$log" >&2
fi
printf 'stitch: missing for some tests: %s. They are skipped here (and fail where CI is set). To have them:\n' \
  "${missing[*]}" >&2
echo "stitch:   sudo apt-get install --no-install-recommends ${wanted[*]}" >&2
