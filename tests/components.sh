#!/usr/bin/env bash
# The programs beside Python that tests run for real.
#
#   tests/components.sh install   installs by apt-get what is missing, where that needs no password;
#                                 otherwise prints the one command to type
#   tests/components.sh check     lists the tests that cannot run here; ends with 1 if there are any
set -euo pipefail

# program, its Debian package, the tests that fail without it
components() {
  cat <<'TABLE'
prometheus prometheus tests/e2e/test_alerts.py,tests/dashboards/test_live.py
promtool prometheus tests/rules
prometheus-alertmanager prometheus-alertmanager tests/e2e/test_alerts.py,tests/rules/test_deploy.py
amtool prometheus-alertmanager tests/rules/test_deploy.py
prometheus-pushgateway prometheus-pushgateway tests/samescore/cli/test_drift.py,tests/monitors/drift
pg_ctlcluster postgresql tests/samescore/cli/test_drift_postgres.py
node nodejs tests/dashboards/test_schema.py
npm npm tests/dashboards/test_schema.py
java default-jre-headless tests/serving/loaders,tests/e2e/test_formats.py,tests/e2e/test_agreement.py,tests/docs,tests/samescore
TABLE
}

missing() {
  local program package tests
  while read -r program package tests; do
    command -v "$program" >/dev/null || echo "$program $package $tests"
  done < <(components)
}

install_missing() {
  local packages root=()
  packages=$(missing | cut -d' ' -f2 | sort -u | tr '\n' ' ')
  [ -n "$packages" ] || return 0
  local command="apt-get install -y --no-install-recommends ${packages% }"
  if ! command -v apt-get >/dev/null; then
    echo "==> tests need these programs, and there is no apt-get here to install them: $packages" >&2
    return 0
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      echo "==> tests need programs that are not installed; type: sudo $command" >&2
      return 0
    fi
    root=(sudo -n)
  fi
  echo "==> installing what tests run for real: $packages (Debian may start some as services)"
  # A stale or absent package list is the usual reason for a failure; what then lacks, check tells.
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive $command -qq >/dev/null ||
    { "${root[@]}" apt-get update -qq && "${root[@]}" env DEBIAN_FRONTEND=noninteractive $command -qq >/dev/null; } ||
    echo "==> that failed; the tests that need them will fail" >&2
}

check() {
  local lacking
  lacking=$(missing)
  [ -n "$lacking" ] || return 0
  echo "==> not installed, so these tests could not run:" >&2
  echo "$lacking" | while read -r program package tests; do
    echo "    $program (apt-get install $package): ${tests//,/, }" >&2
  done
  return 1
}

case "${1:-}" in
  install) install_missing ;;
  check) check ;;
  *) echo "usage: tests/components.sh install|check" >&2; exit 2 ;;
esac
